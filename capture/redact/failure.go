package redact

import (
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// maxWork is how long one body, message or head may be worked on.
const maxWork = 5 * time.Second

// metadataOnly is the one mark of such an exchange.
var metadataOnly = Mark{"", "exchange", events.MetadataOnly}

// KeepMetadata says that nothing else of x may be kept: Head does it.
func KeepMetadata(x *events.Exchange) {
	x.Redactions = nil // there may be as many as there can be
	Add(x, metadataOnly)
}

// strip leaves of x what holds no values: method, host, template of the path,
// status, sizes and times.
func strip(x *events.Exchange) {
	if r := x.Request; r != nil {
		r.Target, r.Headers, r.Trailers = bareTarget(r.Target), nil, nil
		stripBody(r.Body)
	}
	for _, r := range append(x.Interim, x.Response) {
		if r != nil {
			r.Reason, r.Headers, r.Trailers = "", nil, nil
			stripBody(r.Body)
		}
	}
	x.Segments = nil
	KeepMetadata(x)
}

func stripBody(b *events.Body) {
	if b != nil {
		b.Data, b.Parts, b.Kept = nil, nil, 0
	}
}

// bareTarget is the template of a target's path.
func bareTarget(target string) string {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	if _, rest, ok := strings.Cut(target, "://"); ok {
		_, path, _ := strings.Cut(rest, "/")
		target = "/" + path
	}
	return wire.Template(target)
}

// failures are what went wrong in redacting.
type failures struct {
	panics, timeouts atomic.Int64
	stack            atomic.Pointer[string] // of the last panic: places, no values
}

// guard does a piece of work. It is false when that has panicked or taken too
// long: what it has done is not to be trusted.
func (e *Engine) guard(work func()) (done bool) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			e.failures.panicked(p)
			done = false
		}
	}()
	work()
	return e.inTime(time.Since(began))
}

func (e *Engine) inTime(took time.Duration) bool {
	if took > maxWork {
		e.failures.timeouts.Add(1)
		return false
	}
	return true
}

// panicked keeps where it was, never with what.
func (f *failures) panicked(p any) {
	f.panics.Add(1)
	where := fmt.Sprintf("%T\n%s", p, debug.Stack())
	f.stack.Store(&where)
}
