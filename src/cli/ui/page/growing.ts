/** Long lists grow by some rows with each frame: laying out all of them takes longer than a frame may. */
import { useEffect, useState } from "preact/hooks";

const STEP = 20;

/** How many of so many are shown by now. */
export function useGrowing(total: number): number {
  const [shown, setShown] = useState(STEP);
  // One that was shorter for a while grows anew.
  const most = Math.max(STEP, total);
  const now = Math.min(shown, most);
  useEffect(() => {
    if (shown > most) setShown(most);
    if (shown >= total) return undefined;
    const frame = requestAnimationFrame(() => setShown(shown + STEP));
    return () => cancelAnimationFrame(frame);
  }, [shown, total, most]);
  return now;
}
