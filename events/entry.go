package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// TraceID is a W3C trace id, or the hash of another trace header's value.
type TraceID [16]byte

// SpanID is a W3C span id.
type SpanID [8]byte

// SessionID is the hash of what identifies a client: a redacted token or
// cookie, a connection or a trace.
type SessionID [16]byte

func (id TraceID) String() string   { return hexOrEmpty(id[:], id == TraceID{}) }
func (id SpanID) String() string    { return hexOrEmpty(id[:], id == SpanID{}) }
func (id SessionID) String() string { return hexOrEmpty(id[:], id == SessionID{}) }

// MarshalText writes the id in hex, empty for none.
func (id TraceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText writes the id in hex, empty for none.
func (id SpanID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText writes the id in hex, empty for none.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func hexOrEmpty(b []byte, empty bool) string {
	if empty {
		return ""
	}
	return hex.EncodeToString(b)
}

// Name is the direction as users write it: "inbound" or "outbound".
func (d Direction) Name() string { return strings.ToLower(d.String()) }

// MarshalText writes the direction's name.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.Name()), nil }

// ParseDirection reads "inbound" or "outbound".
func ParseDirection(s string) (Direction, error) {
	if v, ok := Direction_value[strings.ToUpper(s)]; ok && v != 0 && strings.ToLower(s) == s {
		return Direction(v), nil
	}
	return 0, fmt.Errorf("direction %q is neither inbound nor outbound", s)
}

// Name is the class as users write it: "ok", "client", "server", "failed"; ""
// for none, which an exchange that is still open has.
func (c StatusClass) Name() string {
	if c == StatusClass_STATUS_CLASS_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(c.String())
}

// MarshalText writes the class's name.
func (c StatusClass) MarshalText() ([]byte, error) { return []byte(c.Name()), nil }

// Row is an index entry with its workload and endpoint: what the index stores,
// what a selector decides on, what lists show. All but the place is the same
// in memory and in SQL.
type Row struct {
	ID       ID            `json:"id"`
	Kind     Kind          `json:"-"`
	Open     bool          `json:"open,omitempty"` // not ended yet
	Time     time.Time     `json:"time"`           // of the first byte
	Duration time.Duration `json:"duration_ns"`    // to the last byte of the response
	TTFB     time.Duration `json:"ttfb_ns"`        // to the first byte of the response

	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Version   string `json:"version,omitempty"`
	Instance  string `json:"instance,omitempty"`

	Direction Direction `json:"direction"`
	Protocol  string    `json:"protocol"`
	Host      string    `json:"host"`
	Method    string    `json:"method"`
	Template  string    `json:"endpoint"`         // of the path
	Replay    bool      `json:"replay,omitempty"` // sent or caused by a replay

	Peer            string      `json:"peer,omitempty"`
	Path            string      `json:"path"`
	Status          string      `json:"status"`
	Class           StatusClass `json:"class"`
	RequestBytes    int64       `json:"request_bytes"`
	ResponseBytes   int64       `json:"response_bytes"`
	Session         SessionID   `json:"session,omitempty"`
	Connection      ID          `json:"connection,omitempty"`
	Trace           TraceID     `json:"trace,omitempty"`
	Span            SpanID      `json:"span,omitempty"`
	ParentSpan      SpanID      `json:"parent_span,omitempty"`
	Cause           ID          `json:"cause,omitempty"`
	CauseConfidence float32     `json:"cause_confidence,omitempty"` // 0 to 1
	ReplayID        string      `json:"replay_id,omitempty"`
	Flags           uint32      `json:"flags,omitempty"` // see Flag
	Tags            []*Tag      `json:"tags,omitempty"`

	Tape     ID     `json:"tape"`
	Block    uint32 `json:"-"`
	Position uint32 `json:"-"`
}

// Failed says what the selector key `error` says: the callee failed or there
// was no complete answer.
func (r *Row) Failed() bool { return r.Class == StatusClass_SERVER || r.Class == StatusClass_FAILED }

// Row joins an entry of this tape with its workload and endpoint.
func (f *Front) Row(e *Entry) Row {
	w, p := f.Header.Workload, f.Index.Endpoints[e.Endpoint]
	r := Row{
		ID: ID(e.Id), Kind: e.Kind, Open: e.Kind == Kind_OPEN,
		Time:     time.Unix(0, int64(e.Time)).UTC(),
		Duration: time.Duration(e.DurationUs) * time.Microsecond,
		TTFB:     time.Duration(e.TtfbUs) * time.Microsecond,
		Cluster:  w.Cluster, Namespace: w.Namespace, Service: w.Service, Version: w.Version, Instance: w.Instance,
		Direction: p.Direction, Protocol: p.Protocol, Host: p.Host, Method: p.Method, Template: p.Template, Replay: p.Replay,
		Peer: e.Peer, Path: e.Path, Status: e.Status, Class: e.Class,
		RequestBytes: e.RequestBytes, ResponseBytes: e.ResponseBytes,
		CauseConfidence: e.CauseConfidence, ReplayID: e.ReplayId, Flags: e.Flags, Tags: e.Tags,
		Tape: f.TapeID(), Block: e.Block, Position: e.Position,
	}
	// An optional id is absent or complete; copy leaves the zero id otherwise.
	copy(r.Session[:], e.Session)
	copy(r.Connection[:], e.Connection)
	copy(r.Trace[:], e.TraceId)
	copy(r.Span[:], e.SpanId)
	copy(r.ParentSpan[:], e.ParentSpanId)
	copy(r.Cause[:], e.CauseId)
	return r
}

// EndpointID identifies an endpoint: the first 8 bytes of SHA-256 over its
// fields, so that it is the same in every indexer, every shard and after every
// reindex.
func (r *Row) EndpointID() int64 {
	replay := ""
	if r.Replay {
		replay = "replay"
	}
	return dictionaryID(r.Cluster, r.Namespace, r.Service, r.Direction.Name(), r.Protocol, r.Host, r.Method, r.Template, replay)
}

// WorkloadID identifies a workload with version and instance, like EndpointID.
func (r *Row) WorkloadID() int64 {
	return dictionaryID(r.Cluster, r.Namespace, r.Service, r.Version, r.Instance)
}

func dictionaryID(fields ...string) int64 {
	var b []byte
	for _, f := range fields {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	sum := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}
