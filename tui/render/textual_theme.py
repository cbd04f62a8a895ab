"""Converts a palette to a Textual theme, for what style sheets colour: dialogs, command palette, scrollbars."""

from __future__ import annotations

from textual.theme import Theme

from fts.tui.render import theme


def theme_of(name: str) -> Theme:
    """Returns the Textual theme of a palette. For the terminal's own colours it names ANSI colours only."""
    colours = theme.palette(name)
    background, text, key = _colour(colours.background), _colour(colours.text), _colour(colours.running)
    plain = {
        "block-cursor-foreground": background, "block-cursor-background": text, "block-cursor-text-style": "none",
        "input-cursor-foreground": background, "input-cursor-background": text, "input-cursor-text-style": "none",
        "input-selection-foreground": background, "input-selection-background": text,
        "screen-selection-foreground": background, "screen-selection-background": text,
        "button-focus-text-style": "bold reverse", "button-foreground": text, "button-color-foreground": background,
        "border": text, "border-blurred": text,
        "scrollbar": text, "scrollbar-hover": key, "scrollbar-active": key, "scrollbar-background": background,
        "scrollbar-background-hover": background, "scrollbar-background-active": background,
        "scrollbar-corner-color": background,
    }  # fmt: skip
    if colours.own:  # `auto` would mix colours that the terminal does not have
        plain |= dict.fromkeys(("text", "text-muted", "text-disabled", "foreground-muted"), text)
        plain |= {"input-cursor-text-style": "reverse", "input-cursor-foreground": text}
        plain |= {"input-cursor-background": background, "ansi-background": background, "ansi-foreground": text}
        plain |= {"foreground-disabled": text, "surface-active": background}
        plain |= {"block-cursor-foreground": text, "block-cursor-background": background}
        plain |= {"block-cursor-text-style": "reverse", "block-cursor-blurred-text-style": "reverse"}
        plain |= {"link-color": key, "link-color-hover": key, "footer-key-foreground": key}
    return Theme(
        name=theme.of_textual(name),
        primary=key,
        secondary=_colour(colours.paused),
        accent=_colour(colours.best),
        foreground=text,
        background=background,
        surface=background,
        panel=_colour(colours.panel),
        boost=_colour(colours.panel),
        warning=_colour(colours.warn),
        error=_colour(colours.failed),
        success=_colour(colours.done),
        dark=theme.is_dark(name),
        variables=plain,
        ansi=colours.own,
    )


def _colour(name: str) -> str:
    return name if name.startswith("#") else f"ansi_{name}"
