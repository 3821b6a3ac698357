//go:build paniconpurpose

package capture

import (
	"bytes"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// planted makes every dissector panic at bytes that ask for it: for a test of
// the whole program, which is built with -tags paniconpurpose.
func planted(d wire.Dissector) wire.Dissector { return panicking{d} }

type panicking struct{ wire.Dissector }

func (p panicking) Data(side events.Side, t time.Time, b []byte) {
	p.Dissector.Data(side, t, b)
	if bytes.Contains(b, []byte("panic on purpose")) {
		panic("on purpose")
	}
}

func (p panicking) Tick(t time.Time) {
	if d, ok := p.Dissector.(wire.Ticker); ok {
		d.Tick(t)
	}
}

func (p panicking) Missed(t time.Time, exchanges int) {
	if d, ok := p.Dissector.(wire.TurnTaker); ok {
		d.Missed(t, exchanges)
	}
}
