package cli

import (
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tapedeck/events"
	"tapedeck/replayer"
)

// liveLine is one line on a terminal that is drawn again; elsewhere it prints
// nothing, and the lines around it tell the story.
type liveLine struct {
	env   *Env
	drawn bool
}

func (l *liveLine) draw(text string) {
	if !l.env.Live {
		return
	}
	width := l.env.Width
	if width == 0 { // stdout is no terminal, but this line's is
		width = 80
	}
	if room := width - 1; utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:room])
	}
	fmt.Fprint(l.env.Stderr, "\r\x1b[K"+text)
	l.drawn = true
}

// clear leaves an empty line for what follows.
func (l *liveLine) clear() {
	if l.drawn {
		fmt.Fprint(l.env.Stderr, "\r\x1b[K")
		l.drawn = false
	}
}

// replayProgress adds up the snapshots of all shards.
type replayProgress struct {
	mu     sync.Mutex
	shards map[int]events.ReplayProgress
	line   liveLine
}

func newReplayProgress(env *Env) *replayProgress {
	return &replayProgress{shards: map[int]events.ReplayProgress{}, line: liveLine{env: env}}
}

// show draws the state after one more snapshot.
func (p *replayProgress) show(s events.ReplayProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Elapsed < p.shards[s.Shard].Elapsed {
		return // an older one, delivered late
	}
	p.shards[s.Shard] = s
	p.line.draw(p.text())
}

func (p *replayProgress) text() string {
	var planned int
	var sum events.Checked
	var elapsed time.Duration
	var latency *hdrhistogram.Histogram
	for _, s := range p.shards {
		planned += s.Planned
		sum.Passed, sum.Missed, sum.Failed = sum.Passed+s.Tests.Passed, sum.Missed+s.Tests.Missed, sum.Failed+s.Tests.Failed
		elapsed = max(elapsed, s.Elapsed)
		if h, err := replayer.UnpackHistogram(s.Histogram); err == nil {
			if latency == nil {
				latency = h
			} else {
				latency.Merge(h)
			}
		}
	}
	done := sum.Passed + sum.Missed + sum.Failed
	share := 0.0
	if planned > 0 {
		share = float64(done) / float64(planned)
	}
	text := fmt.Sprintf("  %-20s %d of %d, %d passed, %d missed", bar(share, 20), done, planned, sum.Passed, sum.Missed)
	if sum.Failed > 0 {
		text += fmt.Sprintf(", %d failed", sum.Failed)
	}
	if latency != nil && latency.TotalCount() > 0 {
		text += fmt.Sprintf(", p99 %s", shortDuration(time.Duration(latency.ValueAtQuantile(99))*time.Microsecond))
	}
	return text + fmt.Sprintf(", %s", elapsed.Round(time.Second))
}
