// When an action unit is active over time, as auformer/episodes.py has it: the same rule, number by number.

export const GAP = 3.5; // frame lengths without a row of the face that end an episode

/** The median frame length of rising times; 1 where there is one frame only. */
export function usualLength(times) {
  if (times.length < 2) return 1;
  const steps = new Float64Array(times.length - 1);
  for (let i = 1; i < times.length; i++) steps[i - 1] = times[i] - times[i - 1];
  steps.sort();
  const middle = steps.length >> 1;
  return steps.length % 2 ? steps[middle] : (steps[middle - 1] + steps[middle]) / 2;
}

/** When each frame ends: at the next one, but no later than after the median frame length. */
export function frameEnds(times) {
  const ends = new Float64Array(times.length);
  if (times.length < 2) {
    for (let i = 0; i < times.length; i++) ends[i] = times[i] + 1;
    return ends;
  }
  const usual = usualLength(times);
  for (let i = 0; i < times.length; i++) {
    const next = i + 1 < times.length ? times[i + 1] : Infinity;
    ends[i] = Math.min(next, times[i] + usual);
  }
  return ends;
}

/** First and last frame of each episode, one after the other: [first, last, first, last, ...]. */
export function runs(times, active, usual) {
  const found = [];
  let last = -1;
  for (let i = 0; i < active.length; i++) {
    if (!active[i]) continue;
    if (last >= 0 && i - last === 1 && !(times[i] - times[last] > GAP * usual)) found[found.length - 1] = i;
    else found.push(i, i);
    last = i;
  }
  return found;
}

/** Mean of the known values from first to last; NaN where none is known. */
function mean(values, first, last) {
  let sum = 0, count = 0;
  for (let i = first; i <= last; i++) if (!Number.isNaN(values[i])) { sum += values[i]; count++; }
  return count ? sum / count : NaN;
}

/** Highest known value; NaN where none is known. */
function peak(values, first, last) {
  let high = NaN;
  for (let i = first; i <= last; i++) if (!Number.isNaN(values[i]) && !(values[i] <= high)) high = values[i];
  return high;
}

/** Active where the probability reaches the threshold; an unknown probability does not. */
export function reach(probs, threshold, into) {
  for (let i = 0; i < probs.length; i++) into[i] = probs[i] >= threshold ? 1 : 0;
  return into;
}

/** The episodes of one AU of one person: begin, end, frames, mean probability and intensity, peak. */
export function episodes(times, ends, active, usual, probs, intensity) {
  const found = runs(times, active, usual), rows = [];
  for (let k = 0; k < found.length; k += 2) {
    const first = found[k], last = found[k + 1];
    rows.push({
      first, last, begin: times[first], end: ends[last], frames: last - first + 1,
      meanProb: mean(probs, first, last), meanIntensity: mean(intensity, first, last),
      peak: peak(intensity, first, last),
    });
  }
  return rows;
}

/** Place of the last of rising times that is at most t; -1 before the first. */
export function lastAtMost(times, t) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1; else high = middle;
  }
  return low - 1;
}
