// Where a received file goes, without holding it in memory: straight to the place the user picks, or through the
// browser's own disk (OPFS) into a download. Browsers without either (a page over plain HTTP) get small files only.

/** A blob in memory is fine up to here. */
export const IN_MEMORY_BYTES = 32 * 1024 * 1024;
const FOLDER = 'rtcam-received';
const OLD_AFTER_MS = 60 * 60 * 1000;
const DOWNLOAD_WITHIN_MS = 5 * 60 * 1000;

/** Which of the three this browser can do: 'picker', 'disk' or 'memory'. */
export function sinkKind(scope = globalThis) {
  if (scope.showSaveFilePicker) return 'picker';
  if (scope.navigator?.storage?.getDirectory && scope.FileSystemFileHandle?.prototype?.createWritable) return 'disk';
  return 'memory';
}

/** `file`: { name, size, mime }. Resolves to { write, close, abort }; throws with `why`. */
export async function openSink(file, scope = globalThis) {
  const kind = sinkKind(scope);
  if (kind === 'picker') return pickedSink(file, scope);
  if (kind === 'disk') return diskSink(file, scope);
  if (file.size > IN_MEMORY_BYTES) throw refusal('no-disk');
  return memorySink(file, scope);
}

async function pickedSink(file, scope) {
  const handle = await scope.showSaveFilePicker({ suggestedName: file.name }).catch((error) => {
    throw refusal(error.name === 'AbortError' ? 'not-chosen' : 'disk');
  });
  const stream = await handle.createWritable();
  return { write: (data) => stream.write(data), close: () => stream.close(), abort: () => stream.abort() };
}

async function diskSink(file, scope) {
  const folder = await (await scope.navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
  await removeOld(folder);
  const { quota, usage } = (await scope.navigator.storage.estimate?.()) ?? {};
  if (quota !== undefined && file.size > quota - usage) throw refusal('quota');
  const name = scope.crypto.randomUUID();
  const handle = await folder.getFileHandle(name, { create: true });
  const stream = await handle.createWritable();
  const remove = () => folder.removeEntry(name).catch(() => {});
  return {
    write: (data) => stream.write(data),
    close: async () => {
      await stream.close();
      download(await handle.getFile(), file.name, scope);
      scope.setTimeout(remove, DOWNLOAD_WITHIN_MS);
    },
    abort: async () => {
      await stream.abort().catch(() => {});
      await remove();
    },
  };
}

function memorySink(file, scope) {
  let pieces = [];
  return {
    write: async (data) => { pieces.push(data); },
    close: async () => download(new Blob(pieces, { type: 'application/octet-stream' }), file.name, scope),
    abort: async () => { pieces = []; },
  };
}

/** Left by pages that were closed in the middle. */
async function removeOld(folder) {
  for await (const [name, handle] of folder.entries()) {
    const file = await handle.getFile().catch(() => null);
    if (file && Date.now() - file.lastModified > OLD_AFTER_MS) await folder.removeEntry(name).catch(() => {});
  }
}

/** Never shown in the page: a file of somebody else's must not run here. */
function download(blob, name, scope) {
  const href = scope.URL.createObjectURL(blob);
  const link = scope.document.createElement('a');
  Object.assign(link, { href, download: name });
  link.click();
  scope.setTimeout(() => scope.URL.revokeObjectURL(href), DOWNLOAD_WITHIN_MS);
}

function refusal(why) {
  return Object.assign(new Error(why), { why });
}
