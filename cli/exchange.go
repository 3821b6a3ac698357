package cli

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"tapedeck/events"
)

const maxShown = 64 << 10 // bytes of a body on a terminal

// printExchange shows a whole exchange: facts, headers, bodies or messages.
func printExchange(env *Env, r *events.Row, x *events.Exchange, of relations, messages []*events.Message) {
	w := env.Stdout
	fmt.Fprintf(w, "%s\n", env.paint(bold, events.ID(x.Id).String()))
	for _, f := range append(facts(r, x), of.facts(r)...) {
		fmt.Fprintf(w, "  %-10s %s\n", f[0], f[1])
	}
	if q := x.Request; q != nil {
		fmt.Fprintf(w, "\n%s %s %s\n", env.paint(bold, "▶ "+q.Method), env.paint(bold, q.Target), q.Version)
		printMessage(env, q.Headers, bodyBeside(messages, q.Body), q.Trailers)
	}
	switch a := x.Response; {
	case a != nil:
		fmt.Fprintf(w, "\n%s %s\n", env.paint(classColor(r.Class), "◀ "+a.Status+" "+a.Reason), a.Version)
		printMessage(env, a.Headers, bodyBeside(messages, a.Body), a.Trailers)
	default:
		fmt.Fprintf(w, "\n%s\n", env.paint(red, "◀ no answer"))
	}
	printMessages(env, messages)
	if x.Failure != "" {
		fmt.Fprintf(w, "\n%s\n", env.paint(red, "failed: "+x.Failure))
	}
}

// bodyBeside is a body that is shown although there are messages: not one
// whose bytes are in them.
func bodyBeside(messages []*events.Message, body *events.Body) *events.Body {
	if len(messages) > 0 && len(body.GetData()) == 0 {
		return nil
	}
	return body
}

// facts are what is known beside the bytes, as name and value.
func facts(r *events.Row, x *events.Exchange) [][2]string {
	all := [][2]string{
		{"time", r.Time.Local().Format("2006-01-02 15:04:05.000000 -0700")},
		{"took", fmt.Sprintf("%s, first byte after %s", shortDuration(r.Duration), shortDuration(r.TTFB))},
		{"service", strings.Trim(r.Cluster+"/"+r.Namespace+"/"+r.Service+" "+r.Version+" "+r.Instance, " /")},
		{"endpoint", strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Direction.Name(), r.Protocol, r.Host, r.Method, r.Template))},
		{"sizes", fmt.Sprintf("%s in the request, %s in the response", shortBytes(r.RequestBytes), shortBytes(r.ResponseBytes))},
		{"session", r.Session.String()}, {"trace", r.Trace.String()}, {"replay", r.ReplayID},
		{"flags", strings.Join(flagNames(r.Flags), ", ")},
		{"redacted", redactions(x)},
	}
	if x.Connection != nil {
		all = append(all, [2]string{"connection", fmt.Sprintf("%s → %s, exchange %d on it", x.Connection.Client, x.Connection.Server, x.Connection.Ordinal+1)})
	}
	known := all[:0]
	for _, f := range all {
		if f[1] != "" {
			known = append(known, f)
		}
	}
	return known
}

func redactions(x *events.Exchange) string {
	var places []string
	for _, r := range x.Redactions {
		places = append(places, r.Place)
	}
	return strings.Join(places, ", ")
}

func flagNames(flags uint32) []string {
	var names []string
	for _, f := range []events.Flag{events.Flag_TRUNCATED, events.Flag_REDACTED, events.Flag_GAP, events.Flag_CLOCK} {
		if flags&uint32(f) != 0 {
			names = append(names, strings.ToLower(f.String()))
		}
	}
	return names
}

func printMessage(env *Env, headers []*events.Field, body *events.Body, trailers []*events.Field) {
	for _, h := range headers {
		fmt.Fprintf(env.Stdout, "  %s %s\n", env.paint(cyan, printable(h.Name)+":"), printable(h.Value))
	}
	if body != nil && body.Size > 0 {
		fmt.Fprintln(env.Stdout)
		printBody(env.Stdout, body, events.HeaderValue(headers, "Content-Encoding"))
	}
	for _, h := range trailers {
		fmt.Fprintf(env.Stdout, "  %s %s\n", env.paint(cyan, "trailer "+printable(h.Name)+":"), printable(h.Value))
	}
}

// printBody shows text as it is, JSON indented, the rest in hex.
func printBody(w io.Writer, body *events.Body, coding string) {
	data := body.Data
	if plain, err := decodeBody(data, coding); err == nil {
		data = plain
	} else {
		fmt.Fprintf(w, "  (%s, shown as it was sent: %v)\n", coding, err)
	}
	var indented bytes.Buffer
	switch shown := data[:min(len(data), maxShown)]; {
	case json.Indent(&indented, data, "  ", "  ") == nil:
		fmt.Fprintf(w, "  %s\n", strings.TrimSpace(indented.String()))
	case isText(data):
		fmt.Fprintf(w, "%s\n", indent(printable(shown)))
	default:
		fmt.Fprintf(w, "%s\n", indent(strings.TrimRight(hex.Dump(shown[:min(len(shown), 4096)]), "\n")))
	}
	if body.Kept < body.Size {
		fmt.Fprintf(w, "  (%s of %s were kept: record with a larger --max-body)\n", shortBytes(body.Kept), shortBytes(body.Size))
	} else if len(data) > maxShown {
		fmt.Fprintf(w, "  (the first of %s; -o json has all)\n", shortBytes(int64(len(data))))
	}
}

// decodeBody undoes the content coding for people to read.
func decodeBody(data []byte, coding string) ([]byte, error) {
	const limit = 16 << 20 // a few bytes can unpack to very many
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return data, nil
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, limit))
	case "deflate":
		return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), limit))
	default:
		return nil, fmt.Errorf("content coding is not known here")
	}
}

// isText says that b has no bytes a terminal should not get.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	return bytes.IndexFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f }) < 0
}

// printable keeps control characters of recorded traffic away from the
// terminal: they could move its cursor or worse.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, string(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))))
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

func classColor(c events.StatusClass) string {
	switch c {
	case events.StatusClass_OK:
		return green
	case events.StatusClass_CLIENT:
		return yellow
	case events.StatusClass_SERVER, events.StatusClass_FAILED:
		return red
	}
	return ""
}

// clock writes the time of day in the time zone of the reader.
func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }
