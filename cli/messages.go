package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire/websocket"
)

// messages reads the messages of a stream; x is nil while it is open.
func (s *source) messages(ctx context.Context, r events.Row, x *events.Exchange) ([]*events.Message, error) {
	at := events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}
	var all []*events.Message
	if x != nil {
		for g, err := range s.archive.Segments(ctx, at, x) {
			if err != nil {
				return nil, service.Hint(err, behindHint)
			}
			all = append(all, g.Messages...)
		}
		return all, nil
	}
	place, err := s.archive.Find(ctx, at, r.Tape)
	if err != nil {
		return nil, service.Hint(fmt.Errorf("read exchange %s: %w", r.ID, err), behindHint)
	}
	segments, err := s.archive.OpenSegments(ctx, at, place, r)
	for _, g := range segments {
		all = append(all, g.Messages...)
	}
	return all, err
}

const behindHint = "the archiver may be behind: try again in a few seconds; or --archive is another one"

// printOpen shows what is known of an exchange that has not ended.
func printOpen(env *Env, r *events.Row, of relations, messages []*events.Message) {
	fmt.Fprintf(env.Stdout, "%s %s\n", env.paint(bold, r.ID.String()), env.paint(faint, "still open"))
	for _, f := range append(facts(r, &events.Exchange{}), of.facts(r)...) {
		fmt.Fprintf(env.Stdout, "  %-10s %s\n", f[0], f[1])
	}
	fmt.Fprintf(env.Stdout, "\n%s %s\n", env.paint(bold, "▶ "+r.Method), env.paint(bold, printable([]byte(r.Path))))
	printMessages(env, messages)
}

// printMessages shows messages in the order they were complete: when, which
// way, of which type.
func printMessages(env *Env, messages []*events.Message) {
	if len(messages) > 0 {
		fmt.Fprintln(env.Stdout)
	}
	for _, m := range messages {
		arrow := "▶"
		if m.Side == events.Side_RESPONSE {
			arrow = "◀"
		}
		fmt.Fprintf(env.Stdout, "%s %s %s%s\n", env.paint(faint, clock(time.Unix(0, m.Time))), arrow, env.paint(cyan, printable([]byte(m.Type))), messageText(m))
		if kept := int64(len(m.Data)); kept < m.Size {
			fmt.Fprintf(env.Stdout, "  (%s of %s were kept)\n", shortBytes(kept), shortBytes(m.Size))
		}
	}
}

// messageText is the rest of the line where it can be, else lines that are set in.
func messageText(m *events.Message) string {
	data := m.Data
	if m.Type == websocket.TypeClose {
		code := websocket.CloseCode(data)
		return strings.TrimRight(fmt.Sprintf(" %d %s", code, printable(data[min(len(data), 2):])), " ")
	}
	shown := data[:min(len(data), maxShown)]
	if !isText(data) {
		return fmt.Sprintf(" %s\n%s", shortBytes(m.Size), indent(strings.TrimRight(hex.Dump(shown[:min(len(shown), 4096)]), "\n")))
	}
	text := printable(bytes.TrimRight(shown, "\r\n"))
	if strings.Contains(text, "\n") {
		return "\n" + indent(text)
	}
	return " " + text
}

// shownStreamMessage is a message for scripts: text where it is text.
type shownStreamMessage struct {
	Time   time.Time       `json:"time"`
	From   string          `json:"from"` // client or server
	Type   string          `json:"type"`
	Size   int64           `json:"size"`
	JSON   json.RawMessage `json:"json,omitempty"`
	Text   string          `json:"text,omitempty"`
	Base64 []byte          `json:"base64,omitempty"`
}

func messagesJSON(messages []*events.Message) []shownStreamMessage {
	var all []shownStreamMessage
	for _, m := range messages {
		s := shownStreamMessage{Time: time.Unix(0, m.Time).UTC(), From: "client", Type: m.Type, Size: m.Size}
		if m.Side == events.Side_RESPONSE {
			s.From = "server"
		}
		s.JSON, s.Text, s.Base64 = shownData(m.Data, m.Data)
		all = append(all, s)
	}
	return all
}
