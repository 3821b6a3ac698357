package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"tapedeck/events"
)

// Report is a result with what a person needs to understand its misses.
type Report struct {
	Result  events.ReplayResult `json:"result"`
	Details []Detail            `json:"details,omitempty"`
}

// Detail is a miss with both answers side by side.
type Detail struct {
	events.Miss
	Request  Message `json:"request"` // as it was sent
	Recorded Message `json:"recorded"`
	Got      Message `json:"got"`
}

// Message is one side of an exchange as text.
type Message struct {
	Line    string   `json:"line"`
	Headers []string `json:"headers,omitempty"`
	Body    string   `json:"body,omitempty"`       // the first 8 KiB of text
	Bytes   int64    `json:"body_bytes,omitempty"` // the whole body
}

const maxShownBody = 8 << 10

// NewDetail shows a miss. Live credentials are left out: a report is passed on
// more freely than traffic is.
func NewDetail(miss events.Miss, recorded, got *events.Exchange) Detail {
	q := got.GetRequest()
	if q == nil {
		q = recorded.GetRequest()
	}
	return Detail{
		Miss: miss,
		Request: Message{
			Line:    fmt.Sprintf("%s %s %s", q.GetMethod(), hideQuery(q.GetTarget()), q.GetVersion()),
			Headers: headerLines(q.GetHeaders()), Body: bodyText(q.GetBody()), Bytes: q.GetBody().GetSize(),
		},
		Recorded: responseMessage(recorded),
		Got:      responseMessage(got),
	}
}

func responseMessage(x *events.Exchange) Message {
	r := x.GetResponse()
	if r == nil {
		return Message{Line: "no answer: " + x.GetFailure()}
	}
	line := strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Version, r.Status, r.Reason))
	if x.GetFailure() != "" {
		line += " (" + x.GetFailure() + ")"
	}
	return Message{Line: line, Headers: headerLines(r.Headers), Body: bodyText(r.Body), Bytes: r.GetBody().GetSize()}
}

// secretValue is a JSON text under the name of a credential.
var secretValue = regexp.MustCompile(`(?i)("[^"]*(?:token|secret|password|passwd|api[-_]?key|session|signature|credential)[^"]*"\s*:\s*")(?:[^"\\]|\\.)*`)

func headerLines(fields []*events.Field) []string {
	var lines []string
	for _, f := range fields {
		value := string(f.Value)
		if events.IsSecretName(string(f.Name)) && !strings.Contains(value, "td1_") { // a redaction token is no secret
			value = events.Hidden
		}
		lines = append(lines, strings.ToValidUTF8(string(f.Name)+": "+value, "\uFFFD"))
	}
	return lines
}

func hideQuery(target string) string {
	path, query, found := strings.Cut(target, "?")
	if !found {
		return target
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil && events.IsSecretName(plain) {
			pairs[i] = name + "=" + events.Hidden
		}
	}
	return path + "?" + strings.Join(pairs, "&")
}

func bodyText(b *events.Body) string {
	data := b.GetData()
	data = data[:min(len(data), maxShownBody)]
	for n := 1; n < utf8.UTFMax && n < len(data) && !utf8.Valid(data); n++ { // cut inside a character
		if utf8.Valid(data[:len(data)-n]) {
			data = data[:len(data)-n]
		}
	}
	if !utf8.Valid(data) {
		return fmt.Sprintf("(%d bytes, not text)", b.GetSize())
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, data, "", "  ") == nil { // all of a JSON body
		data = pretty.Bytes()
	}
	return secretValue.ReplaceAllString(string(data), "${1}"+events.Hidden)
}
