package cli

import (
	"encoding/json"

	"tapedeck/events"
)

// shownExchange is an exchange for scripts: text where it is text.
type shownExchange struct {
	*events.Row
	Request    *shownMessage        `json:"request,omitempty"`
	Response   *shownMessage        `json:"response,omitempty"`
	Messages   []shownStreamMessage `json:"messages,omitempty"` // of a stream
	Effects    []events.Row         `json:"effects,omitempty"`  // outbound exchanges that it caused
	Failure    string               `json:"failure,omitempty"`
	Redactions []*events.Redaction  `json:"redactions,omitempty"`
}

type shownMessage struct {
	Method  string          `json:"method,omitempty"`
	Target  string          `json:"target,omitempty"`
	Host    string          `json:"host,omitempty"`
	Status  string          `json:"status,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Version string          `json:"version,omitempty"`
	Headers [][2]string     `json:"headers,omitempty"` // in the order they were sent
	Size    int64           `json:"size"`
	JSON    json.RawMessage `json:"json,omitempty"`   // a body that is JSON
	Text    string          `json:"text,omitempty"`   // a body that is other text
	Base64  []byte          `json:"base64,omitempty"` // any other body
}

func exchangeJSON(r *events.Row, x *events.Exchange, messages []*events.Message) shownExchange {
	s := shownExchange{Row: r, Failure: x.GetFailure(), Redactions: x.GetRedactions(), Messages: messagesJSON(messages)}
	if q := x.GetRequest(); q != nil {
		s.Request = shownBody(q.Headers, q.Body)
		s.Request.Method, s.Request.Target, s.Request.Host, s.Request.Version = q.Method, q.Target, q.Host, q.Version
	}
	if a := x.GetResponse(); a != nil {
		s.Response = shownBody(a.Headers, a.Body)
		s.Response.Status, s.Response.Reason, s.Response.Version = a.Status, a.Reason, a.Version
	}
	return s
}

func shownBody(headers []*events.Field, body *events.Body) *shownMessage {
	m := &shownMessage{}
	for _, h := range headers {
		m.Headers = append(m.Headers, [2]string{string(h.Name), string(h.Value)})
	}
	if body == nil {
		return m
	}
	m.Size = body.Size
	data, err := decodeBody(body.Data, events.HeaderValue(headers, "Content-Encoding"))
	if err != nil {
		data = body.Data
	}
	m.JSON, m.Text, m.Base64 = shownData(data, body.Data)
	return m
}

// shownData is plain as JSON or text where it is that, else what was sent.
func shownData(plain, sent []byte) (asJSON json.RawMessage, asText string, asIs []byte) {
	switch {
	case len(plain) > 0 && json.Valid(plain):
		return plain, "", nil
	case isText(plain):
		return nil, string(plain), nil
	}
	return nil, "", sent
}
