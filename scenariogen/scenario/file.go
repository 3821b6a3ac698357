package scenario

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// sessionFile is a session as people read and edit it.
type sessionFile struct {
	Session  string         `json:"session"`
	Start    time.Time      `json:"start"`
	Workload *workloadFile  `json:"workload,omitempty"`
	Tests    []exchangeFile `json:"tests"`
	Links    []linkFile     `json:"links,omitempty"`
}

type workloadFile struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Version   string `json:"version,omitempty"`
	Instance  string `json:"instance,omitempty"`
}

// exchangeFile is a test or a mock. Rest is what nobody edits: times,
// connection, marks, as protobuf JSON.
type exchangeFile struct {
	ID         string            `json:"id"`
	Dependency string            `json:"dependency,omitempty"` // mocks
	Workload   *workloadFile     `json:"workload,omitempty"`   // mocks
	Host       string            `json:"host,omitempty"`       // tests
	Endpoint   string            `json:"endpoint"`
	Class      string            `json:"class"`
	Flags      uint32            `json:"flags,omitempty"`
	Request    requestFile       `json:"request"`
	Response   responseFile      `json:"response"`
	Volatile   map[string]string `json:"volatile,omitempty"` // class by place
	Echoes     []echoFile        `json:"echoes,omitempty"`
	Signature  []string          `json:"signature,omitempty"` // exact, shape, route
	Rest       json.RawMessage   `json:"rest"`
}

type requestFile struct {
	Method  string      `json:"method"`
	Target  string      `json:"target"`
	Headers []fieldFile `json:"headers"`
	Body    *bodyFile   `json:"body,omitempty"`
}

type responseFile struct {
	Status  string      `json:"status"`
	Headers []fieldFile `json:"headers"`
	Body    *bodyFile   `json:"body,omitempty"`
}

type linkFile struct {
	From      uint32 `json:"from"`
	FromPlace string `json:"from_place"`
	To        uint32 `json:"to"`
	ToPlace   string `json:"to_place"`
	Recorded  string `json:"recorded"`
}

type echoFile struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Recorded string `json:"recorded"`
}

// fieldFile is a header: ["Name", "value"], or ["Name", "", "base64"] where
// the value is no UTF-8.
type fieldFile []string

func newFieldFiles(fields []*events.Field) []fieldFile {
	out := make([]fieldFile, len(fields))
	for i, f := range fields {
		if utf8.Valid(f.Name) && utf8.Valid(f.Value) {
			out[i] = fieldFile{string(f.Name), string(f.Value)}
			continue
		}
		out[i] = fieldFile{base64.StdEncoding.EncodeToString(f.Name), "", base64.StdEncoding.EncodeToString(f.Value)}
	}
	return out
}

func parseFields(files []fieldFile) ([]*events.Field, error) {
	var out []*events.Field
	for _, f := range files {
		switch len(f) {
		case 2:
			out = append(out, &events.Field{Name: []byte(f[0]), Value: []byte(f[1])})
		case 3:
			name, errName := base64.StdEncoding.DecodeString(f[0])
			value, errValue := base64.StdEncoding.DecodeString(f[2])
			if errName != nil || errValue != nil {
				return nil, formatError("header %q is no base64", f)
			}
			out = append(out, &events.Field{Name: name, Value: value})
		default:
			return nil, formatError(`header %q, want ["Name", "value"]`, f)
		}
	}
	return out, nil
}

// bodyFile is a body in the first of these forms that gives the same bytes
// again.
type bodyFile struct {
	JSON   json.RawMessage `json:"json,omitempty"` // written without blanks
	Tail   string          `json:"tail,omitempty"` // behind JSON: a line's end
	Text   *string         `json:"text,omitempty"`
	Base64 []byte          `json:"base64,omitempty"`
}

func newBodyFile(b *events.Body) *bodyFile {
	if b == nil {
		return nil
	}
	if f := jsonBody(b.Data); f != nil {
		return f
	}
	if utf8.Valid(b.Data) {
		text := string(b.Data)
		return &bodyFile{Text: &text}
	}
	return &bodyFile{Base64: b.Data}
}

func jsonBody(data []byte) *bodyFile {
	trimmed := bytes.TrimSuffix(data, []byte("\n"))
	if len(trimmed) == 0 || !utf8.Valid(trimmed) || string(trimmed) == "null" {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, trimmed); err != nil || !bytes.Equal(b.Bytes(), trimmed) {
		return nil
	}
	return &bodyFile{JSON: b.Bytes(), Tail: string(data[len(trimmed):])}
}

func (f *bodyFile) data() ([]byte, error) {
	switch {
	case f.JSON != nil:
		var b bytes.Buffer
		if err := json.Compact(&b, f.JSON); err != nil {
			return nil, formatError("body: %v", err)
		}
		return append(b.Bytes(), f.Tail...), nil
	case f.Text != nil:
		return []byte(*f.Text), nil
	}
	return f.Base64, nil
}

// parse is the body; what is known of it beyond its bytes stands in rest.
func (f *bodyFile) parse(rest *events.Body) (*events.Body, error) {
	if f == nil {
		return rest, nil
	}
	data, err := f.data()
	if err != nil {
		return nil, err
	}
	if rest == nil {
		rest = &events.Body{Size: int64(len(data)), Kept: int64(len(data))}
	}
	rest.Data = data
	return rest, nil
}

func newExchangeFile(x *events.Exchange) (exchangeFile, error) {
	f := exchangeFile{
		ID:      idText(x.Id),
		Request: requestFile{x.Request.Method, x.Request.Target, newFieldFiles(x.Request.Headers), newBodyFile(x.Request.Body)},
		Response: responseFile{x.Response.Status, newFieldFiles(x.Response.Headers),
			newBodyFile(x.Response.Body)},
	}
	rest := proto.CloneOf(x)
	rest.Id = nil
	rest.Request.Method, rest.Request.Target, rest.Request.Headers = "", "", nil
	rest.Response.Status, rest.Response.Headers = "", nil
	rest.Request.Body, rest.Response.Body = restOfBody(rest.Request.Body), restOfBody(rest.Response.Body)
	raw, err := protojson.Marshal(rest)
	if err != nil {
		return exchangeFile{}, fmt.Errorf("write exchange %s: %w", f.ID, err)
	}
	f.Rest = raw
	return f, nil
}

func idText(id []byte) string {
	if len(id) != 16 {
		return ""
	}
	return events.ID(id).String()
}

// restOfBody is what the bytes alone do not say; nil where that is nothing.
func restOfBody(b *events.Body) *events.Body {
	if b == nil || !incomplete(b) && len(b.Hmac) == 0 {
		return nil
	}
	b.Data, b.Parts = nil, nil
	return b
}

// parse is the exchange that the file holds.
func (f *exchangeFile) parse() (*events.Exchange, error) {
	x := new(events.Exchange)
	if len(f.Rest) > 0 {
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(f.Rest, x); err != nil {
			return nil, formatError("exchange %s: rest: %v", f.ID, err)
		}
	}
	if f.ID != "" {
		id, err := events.ParseID(f.ID)
		if err != nil {
			return nil, formatError("%v", err)
		}
		x.Id = id[:]
	}
	if x.Request == nil {
		x.Request = &events.Request{}
	}
	if x.Response == nil {
		x.Response = &events.Response{}
	}
	x.Request.Method, x.Request.Target, x.Response.Status = f.Request.Method, f.Request.Target, f.Response.Status
	var err error
	if x.Request.Headers, err = parseFields(f.Request.Headers); err != nil {
		return nil, err
	}
	if x.Response.Headers, err = parseFields(f.Response.Headers); err != nil {
		return nil, err
	}
	if x.Request.Body, err = f.Request.Body.parse(x.Request.Body); err != nil {
		return nil, err
	}
	x.Response.Body, err = f.Response.Body.parse(x.Response.Body)
	return x, err
}
