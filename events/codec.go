package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	nats_jetstream "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrEvent is wrapped by every error about a message that is no event of ours.
var ErrEvent = errors.New("not a readable event")

// Event is a CloudEvent 1.0 (https://github.com/cloudevents/spec).
type Event struct {
	Type        string
	Source      string // "/tapedeck/<role>/<instance>"
	ID          string
	Subject     string // what it is about: a service, a replay, a scenario
	Time        time.Time
	ContentType string
	Data        []byte
}

// eventType is a row of the table of events: what is said on a subject.
type eventType struct {
	subject     string // prefix of the NATS subject
	name        string // CloudEvents type
	schema      string // CloudEvents dataschema
	contentType string
}

const jsonType = "application/json"

var eventTypes = []eventType{
	{"captured.", "dev.tapedeck.captured.v1", "urn:tapedeck:tape:v1", TapeContentType},
	{"archived.", "dev.tapedeck.archived.v1", "urn:tapedeck:archived:v1", jsonType},
	{"indexed.", "dev.tapedeck.indexed.v1", "urn:tapedeck:indexed:v1", jsonType},
	{SubjectScenarioRequest, "dev.tapedeck.scenario.request.v1", "urn:tapedeck:scenario-request:v1", jsonType},
	{"scenario.ready.", "dev.tapedeck.scenario.ready.v1", "urn:tapedeck:scenario-ready:v1", jsonType},
	{SubjectReplayRequest, "dev.tapedeck.replay.request.v1", "urn:tapedeck:replay-request:v1", jsonType},
	{"replay.shard.", "dev.tapedeck.replay.shard.v1", "urn:tapedeck:replay-shard:v1", jsonType},
	{"replay.control.", "dev.tapedeck.replay.control.v1", "urn:tapedeck:replay-control:v1", jsonType},
	{"replay.mocked.", "dev.tapedeck.replay.mocked.v1", "urn:tapedeck:replay-mocked:v1", jsonType},
	{"replay.progress.", "dev.tapedeck.replay.progress.v1", "urn:tapedeck:replay-progress:v1", jsonType},
	{"replay.result.", "dev.tapedeck.replay.result.v1", "urn:tapedeck:replay-result:v1", jsonType},
}

func typeOf(subject string) (eventType, error) {
	for _, t := range eventTypes {
		if subject == t.subject || strings.HasSuffix(t.subject, ".") && strings.HasPrefix(subject, t.subject) {
			return t, nil
		}
	}
	return eventType{}, fmt.Errorf("no event is declared for subject %q", subject)
}

// NewEvent makes the event that belongs on a NATS subject; data is marshalled
// to JSON unless it is a tape's bytes. about is the CloudEvents subject.
func NewEvent(subject, source, id, about string, data any) (Event, error) {
	t, err := typeOf(subject)
	if err != nil {
		return Event{}, err
	}
	e := Event{Type: t.name, Source: source, ID: id, Subject: about, Time: time.Now().UTC(), ContentType: t.contentType}
	if b, ok := data.([]byte); ok && t.contentType != jsonType {
		e.Data = b
		return e, nil
	}
	if e.Data, err = json.Marshal(data); err != nil {
		return Event{}, fmt.Errorf("encode %s: %w", t.name, err)
	}
	return e, nil
}

// Encode writes an event in binary mode (ce- headers, data as it is), with its
// id as Nats-Msg-Id for the server's dedupe window.
func Encode(subject string, e Event) (*nats.Msg, error) {
	t, err := typeOf(subject)
	if err != nil {
		return nil, err
	}
	ce := cloudevent.New(cloudevent.CloudEventsVersionV1)
	ce.SetID(e.ID)
	ce.SetSource(e.Source)
	ce.SetType(e.Type)
	ce.SetTime(e.Time)
	ce.SetSubject(e.Subject)
	ce.SetDataSchema(t.schema)
	ce.SetDataContentType(e.ContentType)
	ce.DataEncoded = e.Data
	if err := ce.Validate(); err != nil {
		return nil, fmt.Errorf("encode event for %s: %w", subject, err)
	}
	data := bytes.NewBuffer(make([]byte, 0, len(e.Data)+bytes.MinRead))
	header, err := nats_jetstream.WriteMsg(context.Background(), (*binding.EventMessage)(&ce), data)
	if err != nil {
		return nil, fmt.Errorf("encode event for %s: %w", subject, err)
	}
	header.Set(jetstream.MsgIDHeader, e.ID)
	return &nats.Msg{Subject: subject, Header: header, Data: data.Bytes()}, nil
}

// Decode reads an event: binary mode, structured JSON, and on the subjects
// that end in ".request" a bare JSON object as the data, so that
// `nats pub replay.request '{…}'` is enough. A bare request has no ID.
// Errors wrap ErrEvent.
func Decode(subject string, header nats.Header, data []byte) (Event, error) {
	t, err := typeOf(subject)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	if header.Get("ce-specversion") == "" && !structured(data) {
		if strings.HasSuffix(subject, ".request") && looksLikeObject(data) {
			return Event{Type: t.name, Time: time.Now().UTC(), ContentType: jsonType, Data: data}, nil
		}
		return Event{}, fmt.Errorf("%w: on %s neither CloudEvents headers nor structured JSON", ErrEvent, subject)
	}
	ce, err := binding.ToEvent(context.Background(), nats_jetstream.NewMessage(&nats.Msg{Subject: subject, Header: header, Data: data}))
	if err != nil {
		return Event{}, fmt.Errorf("%w: on %s: %w", ErrEvent, subject, err)
	}
	if err := ce.Validate(); err != nil {
		return Event{}, fmt.Errorf("%w: on %s: %s", ErrEvent, subject, strings.TrimSpace(err.Error()))
	}
	if ce.Type() != t.name {
		return Event{}, fmt.Errorf("%w: type %q on %s, want %q", ErrEvent, ce.Type(), subject, t.name)
	}
	return Event{Type: ce.Type(), Source: ce.Source(), ID: ce.ID(), Subject: ce.Subject(), Time: ce.Time(),
		ContentType: ce.DataContentType(), Data: ce.Data()}, nil
}

func looksLikeObject(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == '{'
}

func structured(data []byte) bool {
	if !looksLikeObject(data) {
		return false
	}
	var head struct {
		SpecVersion string `json:"specversion"`
	}
	return json.Unmarshal(data, &head) == nil && head.SpecVersion != ""
}

// DecodeData reads the JSON data of an event. Errors wrap ErrEvent.
func DecodeData[T any](e Event) (T, error) {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, fmt.Errorf("%w: data of %s: %w", ErrEvent, e.Type, err)
	}
	return v, nil
}

// Publish sends an event and waits until the stream has it. opts can name
// another Nats-Msg-Id (jetstream.WithMsgID).
func Publish(ctx context.Context, js jetstream.Publisher, subject string, e Event, opts ...jetstream.PublishOpt) error {
	msg, err := Encode(subject, e)
	if err != nil {
		return err
	}
	if _, err := js.PublishMsg(ctx, msg, opts...); err != nil {
		return fmt.Errorf("publish on %s: %w", subject, err)
	}
	return nil
}

// Headers of a dead letter, beside the headers it came with.
const (
	DeadReasonHeader  = "tapedeck-reason"
	DeadSubjectHeader = "tapedeck-subject" // where it was published
	DeadWorkerHeader  = "tapedeck-consumer"
)

// DeadLetter puts a message that can never be handled, whole and with the
// reason, on the dead letters, and only then ends it at its stream. A
// redelivery makes no second one (Nats-Msg-Id).
func DeadLetter(ctx context.Context, js jetstream.Publisher, msg jetstream.Msg, reason error) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("dead letter of %s: %w", msg.Subject(), err)
	}
	header := nats.Header{}
	for k, v := range msg.Headers() {
		if !strings.HasPrefix(k, "Nats-") {
			header[k] = v
		}
	}
	header.Set(DeadReasonHeader, strings.Join(strings.Fields(reason.Error()), " "))
	header.Set(DeadSubjectHeader, msg.Subject())
	header.Set(DeadWorkerHeader, meta.Consumer)
	dead := &nats.Msg{Subject: DeadLetterSubject(meta.Stream), Header: header, Data: msg.Data()}
	// The stream's sequences begin again when it is made anew; with the time
	// the id is unique, and two consumers of one bad message make one letter.
	id := fmt.Sprintf("%s.%d.%d", meta.Stream, meta.Sequence.Stream, meta.Timestamp.UnixNano())
	if _, err := js.PublishMsg(ctx, dead, jetstream.WithMsgID(id)); err != nil {
		return fmt.Errorf("dead letter of %s: %w", msg.Subject(), err)
	}
	if err := msg.Term(); err != nil {
		return fmt.Errorf("end dead letter of %s: %w", msg.Subject(), err)
	}
	return nil
}
