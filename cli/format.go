package cli

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// shortDuration writes a duration with three digits: 12.3ms.
func shortDuration(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3gs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// shortBytes writes a size with three digits: 1.2 MiB.
func shortBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= 1024 && unit < 4 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.3g %ciB", v, " KMGT"[unit])
}

// shortRate writes requests per second.
func shortRate(perSecond float64) string {
	if perSecond >= 100 {
		return fmt.Sprintf("%.0f/s", perSecond)
	}
	return fmt.Sprintf("%.3g/s", perSecond)
}

// plural counts things: 1 exchange, 2 exchanges.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "s") {
		return fmt.Sprintf("%d %ses", n, one)
	}
	if strings.HasSuffix(one, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(one, "y"))
	}
	return fmt.Sprintf("%d %ss", n, one)
}

var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values from 0 to their highest; nothing is a space.
func sparkline(values []float64) string {
	top := 0.0
	for _, v := range values {
		top = math.Max(top, v)
	}
	line := make([]rune, len(values))
	for i, v := range values {
		line[i] = ' '
		if v > 0 {
			line[i] = sparks[min(int(v/top*float64(len(sparks))), len(sparks)-1)]
		}
	}
	return string(line)
}

// bar draws a share of width columns in eighths.
func bar(share float64, width int) string {
	eighths := int(math.Round(math.Min(math.Max(share, 0), 1) * float64(width) * 8))
	if share > 0 && eighths == 0 {
		eighths = 1
	}
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return full
}
