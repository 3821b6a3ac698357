package redact

import (
	"slices"
	"strings"

	"tapedeck/events"
)

// Exchange redacts an exchange whose bodies are whole, in place: files that
// are redacted after they were written.
func (e *Engine) Exchange(x *events.Exchange) {
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		body := x.GetRequest().GetBody()
		if side == events.Side_RESPONSE {
			body = x.GetResponse().GetBody()
		}
		b := e.Body(x, side, body.GetData())
		if b == nil {
			continue
		}
		out := b.Close(b.Write(nil, body.Data))
		if b.Changed() && len(body.Hmac) == 0 {
			mac := e.MAC()
			mac.Write(body.Data)
			body.Hmac = mac.Sum(nil)
		}
		switch {
		case b.Failed():
			body.Data, body.Kept = nil, 0
		case b.Changed():
			grown := int64(len(out) - len(body.Data))
			body.Data, body.Size, body.Kept = out, body.Size+grown, body.Kept+grown
		}
		b.Mark(x, side)
	}
	e.Head(x)
}

// Mark notes in x what was redacted of its body. A body whose coding was taken
// off is stored without it, so its header does not speak of it either: the mark
// does. After one that broke off nothing else is looked through: Head leaves
// the metadata.
func (b *Body) Mark(x *events.Exchange, side events.Side) {
	if b == nil {
		return
	}
	if b.broken {
		KeepMetadata(x)
		return
	}
	name := "request"
	if side == events.Side_RESPONSE {
		name = "response"
	}
	if b.coding != "" {
		Add(x, Mark{name + ".header.Content-Encoding", b.coding, ActionDecoded})
		if side == events.Side_REQUEST {
			x.Request.Headers = withoutCoding(x.Request.Headers)
		} else {
			x.Response.Headers = withoutCoding(x.Response.Headers)
		}
	}
	for _, m := range b.marks.list {
		m.Place = strings.TrimSuffix(name+".body."+m.Place, ".")
		Add(x, m)
	}
}

func withoutCoding(headers []*events.Field) []*events.Field {
	return slices.DeleteFunc(slices.Clone(headers), func(f *events.Field) bool { return is(f.Name, "Content-Encoding") })
}

// ThrowawayKey is a key that nobody keeps: to see what rules do.
func ThrowawayKey() *Key { return newKey(randomSecret()) }
