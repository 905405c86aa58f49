// A module of the picture did not come (a network that broke off): nothing of the page runs then, and only a fresh load
// asks for it again. Not all pages in one beat.
addEventListener('error', ({ target }) => target.localName === 'script' && setTimeout(() => location.reload(), 2000 + 4000 * Math.random()), true);
