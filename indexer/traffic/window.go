package traffic

import "time"

// niceSteps are what an unset step is chosen from.
var niceSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

func niceStep(length time.Duration, points int64) time.Duration {
	for _, s := range niceSteps {
		if int64(length/s) <= points {
			return s
		}
	}
	days := int64(length)/points/int64(24*time.Hour) + 1
	return time.Duration(days) * 24 * time.Hour
}

// window is the range of a series query, on the edges of its steps.
type window struct {
	from, to time.Time
	step     time.Duration
}

func (q *SeriesQuery) window(from, to time.Time) (window, error) {
	if q.Step < 0 {
		return window{}, queryError("the step %s is negative", q.Step)
	}
	if !from.Before(to) {
		return window{}, queryError("the range from %s to %s is empty", from, to)
	}
	length, step := to.Sub(from), q.Step
	switch {
	case step == 0:
		step = niceStep(length, 120)
	case step <= 10*time.Second:
		step = roundUp(step, time.Second)
	default:
		step = roundUp(step, 10*time.Second)
	}
	if int64(length/step) > MaxPoints-2 {
		step = max(step, niceStep(length, MaxPoints-2))
	}
	w := window{from: floorTime(from, step), to: ceilTime(to, step), step: step}
	return w, nil
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }

// floorTime is the start of the step that t lies in, counted from 1970.
func floorTime(t time.Time, step time.Duration) time.Time {
	return time.UnixMicro(floorDiv(t.UnixMicro(), step.Microseconds()) * step.Microseconds()).UTC()
}

// wholeWindow is the window of views without steps: the longer, the coarser
// its edges, so that the coarsest rollups fill it.
func wholeWindow(from, to time.Time) window {
	step := 24 * time.Hour
	for _, w := range []struct{ length, step time.Duration }{
		{2 * time.Hour, 10 * time.Second}, {12 * time.Hour, time.Minute},
		{4 * 24 * time.Hour, 10 * time.Minute}, {60 * 24 * time.Hour, time.Hour},
	} {
		if to.Sub(from) <= w.length {
			step = w.step
			break
		}
	}
	return window{from: floorTime(from, step), to: ceilTime(to, step), step: step}
}

// ceilTime is the end of the step that what lies before t ends in.
func ceilTime(t time.Time, step time.Duration) time.Time {
	return floorTime(t.Add(-time.Microsecond), step).Add(step)
}
