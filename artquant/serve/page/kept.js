// What this browser keeps, and nobody else gets: language, view, thumbs. A browser that keeps nothing works too.

const PREFIX = "artquant.";

export function kept(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** Keep a text under a name; null forgets it. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // full or forbidden: the page forgets
  }
}

/** A token lives as long as the tab. */
export function sessionToken(value) {
  try {
    if (value !== undefined) sessionStorage.setItem(`${PREFIX}token`, value);
    return sessionStorage.getItem(`${PREFIX}token`) ?? "";
  } catch {
    return value ?? "";
  }
}
