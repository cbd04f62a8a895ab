"""Screens of the monitor that only this study has."""
