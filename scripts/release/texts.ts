/** What a release changes in texts. Pure. */

/** MAJOR.MINOR.PATCH with an optional pre-release (semver.org, without build metadata). */
const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$/;

/** A release cannot be made of what was given; the message says why and what to do. */
export class ReleaseError extends Error {
  override readonly name = "ReleaseError";
}

/** Whether a version comes after another one; a pre-release comes before its release. @throws ReleaseError when one is no version */
export function isLater(version: string, than: string): boolean {
  const [one, other] = [version, than].map((text) => {
    const parts = VERSION.exec(text);
    if (!parts) throw new ReleaseError(`"${text}" is no version: it has the form 1.2.3 or 1.2.3-rc.1`);
    return parts;
  }) as [RegExpExecArray, RegExpExecArray];
  for (const part of [1, 2, 3]) {
    const difference = Number(one[part]) - Number(other[part]);
    if (difference !== 0) return difference > 0;
  }
  const [before, after] = [other[4], one[4]];
  if (before === undefined) return false;
  return after === undefined || after.localeCompare(before, "en", { numeric: true }) > 0;
}

/**
 * The changelog with what was unreleased under its version, and an empty place for what comes next.
 * @param day ISO 8601, as 2026-11-29
 * @returns the changelog, and what the release's own part says
 * @throws ReleaseError when nothing is unreleased
 */
export function releaseNotes(changelog: string, version: string, day: string): { changelog: string; notes: string } {
  const HEAD = "## Unreleased\n";
  const at = changelog.indexOf(HEAD);
  const from = at + HEAD.length;
  const next = changelog.indexOf("\n## ", from);
  const notes = at < 0 ? "" : changelog.slice(from, next < 0 ? undefined : next).trim();
  if (notes === "")
    throw new ReleaseError('CHANGELOG.md has nothing under "## Unreleased": say there what users will notice');
  const rest = next < 0 ? "" : changelog.slice(next + 1);
  const released = `${changelog.slice(0, at)}${HEAD}\n## ${version} (${day})\n\n${notes}\n`;
  return { changelog: rest === "" ? released : `${released}\n${rest}`, notes };
}

/** The chart's metadata with another version of chart and application. */
export const chartOf = (chart: string, version: string): string =>
  chart.replace(/^version: .*$/m, `version: ${version}`).replace(/^appVersion: .*$/m, `appVersion: "${version}"`);
