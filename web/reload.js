// A module of the picture did not come (a network that broke off): nothing of the page runs then, and only a fresh load
// asks for it again, once there is somebody to ask: a browser's own page of errors would stay. Not all pages in one beat.
const again = () => setTimeout(() => fetch('', { cache: 'no-store', signal: AbortSignal.timeout?.(8000) }).then(() => location.reload(), again), 2000 + 4000 * Math.random());
addEventListener('error', ({ target }) => target.localName === 'script' && again(), true);
