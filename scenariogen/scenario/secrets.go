package scenario

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// Secrets are the values behind redaction's tokens, as far as somebody gave
// them. They are sent to the target and shown nowhere. Nil is none; a Secrets
// is safe for concurrent use.
type Secrets struct {
	values map[string]string // by token
	tokens map[string]string // by value
	short  []string          // values that may stand in others by chance
	hide   *strings.Replacer
	waived bool
}

// shortSecret is the length below which a value is hidden only where it
// stands alone: 123 is no part of 4123.
const shortSecret = 6

// NewSecrets are the values by their tokens; empty ones are not known yet.
func NewSecrets(values map[string]string) *Secrets {
	s := &Secrets{values: map[string]string{}, tokens: map[string]string{}}
	var pairs []string
	seen := map[string]bool{}
	byLength := slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return cmp.Or(len(values[b])-len(values[a]), cmp.Compare(a, b)) // what holds another goes first
	})
	for _, token := range byLength {
		value := values[token]
		if value == "" {
			continue
		}
		s.values[token], s.tokens[value] = value, token
		if value == token {
			continue // it is to be sent as it is
		}
		if len(value) < shortSecret {
			s.short = append(s.short, value)
			continue
		}
		for _, form := range formsOf(value) {
			if !seen[form] {
				seen[form] = true
				pairs = append(pairs, form, token)
			}
		}
	}
	s.hide = strings.NewReplacer(pairs...)
	return s
}

// WaiveSecrets lets every token be sent as it is.
func WaiveSecrets() *Secrets {
	s := NewSecrets(nil)
	s.waived = true
	return s
}

// formsOf are the ways in which an answer may repeat a value.
func formsOf(value string) []string {
	var forms []string
	for _, v := range []string{value, strings.ToLower(value), strings.ToUpper(value)} {
		quoted := string(quoteJSON(v))
		forms = append(forms, v, quoted[1:len(quoted)-1], url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v), escapeXML(v), hex.EncodeToString([]byte(v)))
	}
	return append(forms, base64.StdEncoding.EncodeToString([]byte(value)), base64.RawStdEncoding.EncodeToString([]byte(value)),
		base64.URLEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)))
}

func escapeXML(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}

// Value is what a token stands for.
func (s *Secrets) Value(token string) (string, bool) {
	if s == nil {
		return "", false
	}
	value, ok := s.values[token]
	return value, ok
}

// Token stands for a value.
func (s *Secrets) Token(value string) (string, bool) {
	if s == nil {
		return "", false
	}
	token, ok := s.tokens[value]
	return token, ok
}

// Hide puts the tokens of secrets into their places in a text that is shown.
func (s *Secrets) Hide(text string) string {
	if s == nil || text == "" {
		return text
	}
	text = s.hide.Replace(text)
	for _, value := range s.short {
		text = replacePart(text, value, s.tokens[value])
	}
	return text
}

// HideIn is a copy of an exchange to be shown.
func (s *Secrets) HideIn(x *events.Exchange) *events.Exchange {
	if s == nil {
		return x
	}
	x = proto.CloneOf(x)
	x.Failure = s.Hide(x.Failure)
	if q := x.Request; q != nil {
		q.Target = s.Hide(q.Target)
		s.hideIn(requestMessage(q))
	}
	if r := x.Response; r != nil {
		s.hideIn(responseMessage(r))
	}
	return x
}

func (s *Secrets) hideIn(m message) {
	for _, f := range m.headers {
		f.Value = []byte(s.Hide(string(f.Value)))
	}
	if m.body == nil {
		return
	}
	if data, ok := decodeBody(m.headers, m.body.Data); ok {
		m.body.Data = []byte(s.Hide(string(data)))
	}
}

// supply puts the secrets into the places of a message where x, which was
// recorded, has their tokens.
func (s *Secrets) supply(m message, x *events.Exchange, leaves []leaf) {
	if s == nil || len(s.values) == 0 {
		return
	}
	for _, l := range leaves {
		for _, r := range redactedIn(x, l) {
			if value, ok := s.values[r.token]; ok {
				m.put(l.place, r.token, written(m, l, value))
			}
		}
	}
}

// written is a secret in the form that its place asks for.
func written(m message, l leaf, value string) string {
	switch {
	case strings.HasSuffix(l.place, ".header.Authorization") && strings.HasPrefix(l.value, "Basic ") && strings.Contains(value, ":"):
		return base64.StdEncoding.EncodeToString([]byte(value))
	case l.kind == kindPlain && looksXML(mediaType(m.headers), m.body.GetData()):
		return escapeXML(value)
	}
	return value
}

// tokenised is a live request with tokens where it has secrets, which is how
// it was recorded; nil when it has none.
func (s *Secrets) tokenised(live *events.Exchange) *events.Exchange {
	if s == nil || len(s.tokens) == 0 || live.GetRequest() == nil {
		return nil
	}
	var out *events.Exchange
	for _, l := range requestLeaves(live.Request) {
		token, ok := s.tokens[l.value]
		if !ok || l.kind != kindText && l.kind != kindNumber {
			continue
		}
		if out == nil {
			out = proto.CloneOf(live)
		}
		requestMessage(out.Request).put(l.place, l.value, token)
	}
	return out
}
