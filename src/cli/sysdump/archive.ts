/** An archive (tar, compressed) of many texts, written as they come: none but the one at hand is in memory. */
import { createGunzip, createGzip } from "node:zlib";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, pack } from "tar-stream";

/** One file of it. */
export interface Entry {
  /** Where it lies in the archive: names and slashes. */
  path: string;
  data: Buffer;
}

/** Writes an archive and ends what it is written to. @throws whatever the entries or the stream throw */
export async function writeArchive(entries: AsyncIterable<Entry>, to: Writable, now = new Date()): Promise<void> {
  const archive = pack();
  const written = pipeline(archive, createGzip(), to);
  try {
    for await (const { path, data } of entries)
      await new Promise<void>((resolve, reject) => {
        archive.entry({ name: path, mtime: now, mode: 0o600 }, data, (error) => (error ? reject(error) : resolve()));
      });
    archive.finalize();
  } catch (error) {
    archive.destroy(error as Error);
    // The error above is the reason of this one.
    await written.catch(() => undefined);
    throw error;
  }
  await written;
}

/**
 * The files of an archive that somebody else made, whatever it says: names that would lead out of a folder are made harmless, and what is
 * more than `limit` bytes in all is left out. @throws Error when it is no archive, after what could be read of it
 */
export async function* readArchive(data: Buffer, limit: number): AsyncGenerator<Entry> {
  const archive = extract();
  const read = pipeline(Readable.from([data]), createGunzip(), archive);
  // It is awaited below; until then its failure is the iteration's.
  read.catch(() => undefined);
  let left = limit;
  for await (const entry of archive) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry as AsyncIterable<Buffer>) {
      left -= chunk.length;
      if (left < 0) throw new Error(`there are more than ${limit} bytes in it`);
      chunks.push(chunk);
    }
    const names = entry.header.name.split("/").filter((name) => name !== "" && name !== "." && name !== "..");
    if (entry.header.type === "file" && names.length > 0)
      yield { path: names.join("/").replaceAll(/[^\w.:/@+-]/g, "_"), data: Buffer.concat(chunks) };
  }
  await read;
}
