// The search takes "-" before a word for "not": whoever looks for --parallel means the word.
document.addEventListener("keyup", ({ target }) => {
  if (target.matches(".md-search__input") && /(^|\s)-+\w/.test(target.value))
    target.value = target.value.replace(/(^|\s)-+(?=\w)/g, "$1");
}, true);
