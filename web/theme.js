// Dark or light: as the system says, or as the viewer chose.

export function wearTheme(theme, root = document.documentElement) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
}
