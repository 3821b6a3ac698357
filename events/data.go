package events

import "time"

// What the JSON events carry. Field names are for ever; readers ignore what
// they do not know.

// Service is the part of a workload that identifies a service everywhere.
type Service struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
}

// Archived says where tapes lie: one object, alone or in a reel.
type Archived struct {
	Service
	Object string         `json:"object"` // key in the archive
	Tapes  []ArchivedTape `json:"tapes"`
}

// ArchivedTape is one tape in an archived object.
type ArchivedTape struct {
	ID     ID    `json:"id"`
	Offset int64 `json:"offset"` // of its first byte in the object
	Length int64 `json:"length"` // bytes
}

// Indexed says that a tape is in the index: a hint, may repeat.
type Indexed struct {
	Service
	Tape      ID                `json:"tape"`
	From      time.Time         `json:"from"` // first byte of the first exchange
	To        time.Time         `json:"to"`   // first byte of the last exchange
	Exchanges int               `json:"exchanges"`
	Endpoints []IndexedEndpoint `json:"endpoints"`
}

// IndexedEndpoint counts a tape's exchanges of one endpoint.
type IndexedEndpoint struct {
	ID        int64  `json:"id,string"`
	Direction string `json:"direction"`
	Protocol  string `json:"protocol"`
	Host      string `json:"host"`
	Method    string `json:"method"`
	Template  string `json:"endpoint"`
	Replay    bool   `json:"replay,omitempty"`
	Requests  int    `json:"requests"`
	Errors    int    `json:"errors"`
}

// ScenarioRequest asks for a scenario made of recorded exchanges.
type ScenarioRequest struct {
	ID       string    `json:"id,omitempty"` // also the version's seed: a redelivery makes the same version
	Name     string    `json:"name"`
	Selector string    `json:"selector,omitempty"` // default: everything that is not a replay
	From     time.Time `json:"from,omitzero"`      // first byte; default: no bound
	To       time.Time `json:"to,omitzero"`
	By       string    `json:"by,omitempty"` // who asks
}

// ScenarioReady announces a scenario.
type ScenarioReady struct {
	ID           string       `json:"id"` // of the request
	Name         string       `json:"name"`
	Version      string       `json:"version"`
	Location     string       `json:"location"` // folder in the archive
	Error        string       `json:"error,omitempty"`
	Tests        int          `json:"tests"`
	Sessions     int          `json:"sessions"`
	Mocks        int          `json:"mocks"`
	Cuts         int          `json:"cuts,omitempty"` // sessions that go on as others: the manifest says why
	Dependencies []Dependency `json:"dependencies"`
	From         time.Time    `json:"from,omitzero"`
	To           time.Time    `json:"to,omitzero"`
	CreatedAt    time.Time    `json:"created_at"`
	Credentials  int          `json:"credentials,omitempty"` // redacted ones that a replay has to be given
}

// Dependency is a backend that outbound exchanges go to.
type Dependency struct {
	Name     string `json:"name"`             // host, with the port when it is not the scheme's
	Protocol string `json:"protocol"`         // "http"
	Listen   string `json:"listen,omitempty"` // recorded LISTEN address of --outbound LISTEN=HOST:PORT
	Mocks    int    `json:"mocks"`            // recorded exchanges
}

// ReplayRequest asks for a run of a scenario against a target.
type ReplayRequest struct {
	ID         string        `json:"id,omitempty"`
	Scenario   string        `json:"scenario"`
	Version    string        `json:"version,omitempty"` // default: the newest
	Target     string        `json:"target"`            // URL
	Load       Load          `json:"load,omitzero"`
	Transforms []Transform   `json:"transforms,omitempty"`
	Assertions []Assertion   `json:"assertions,omitempty"`
	Goals      []string      `json:"goals,omitempty"` // "latency.p99 < 200ms"
	Chaos      []ChaosRule   `json:"chaos,omitempty"`
	Mocks      *MocksRequest `json:"mocks,omitempty"`
	By         string        `json:"by,omitempty"`
	Deadline   time.Time     `json:"deadline,omitzero"` // to begin; default: 10 min after the request's time
}

// Load says how fast sessions are sent.
type Load struct {
	Mode        string        `json:"mode,omitempty"`   // "recorded" (default): recorded times; "rate"; "fast": one request after another
	Speed       float64       `json:"speed,omitempty"`  // recorded: 2 = twice as fast; default 1
	Rate        float64       `json:"rate,omitempty"`   // rate: requests/s
	Copies      int           `json:"copies,omitempty"` // of every session; default 1
	Duration    time.Duration `json:"duration_ns,omitempty"`
	Connections int           `json:"connections,omitempty"` // at most; default 64
	Timeout     time.Duration `json:"timeout_ns,omitempty"`  // of one request; default 30 s
}

// Transform changes a request before it is sent.
type Transform struct {
	Selector string `json:"selector,omitempty"`
	Place    string `json:"place"` // "request.header.Authorization"
	Value    string `json:"value"`
}

// Assertion says how a place of the response is compared.
type Assertion struct {
	Selector string `json:"selector,omitempty"`
	Place    string `json:"place"` // "response.body.$.total"
	Rule     string `json:"rule"`  // "equal", "ignore", "exists"
}

// ChaosRule says what goes wrong on purpose.
type ChaosRule struct {
	Selector string  `json:"selector,omitempty"`
	Fault    string  `json:"fault"` // "latency", "status", "reset"
	Value    string  `json:"value,omitempty"`
	Share    float64 `json:"share,omitempty"` // 0 to 1; default 1
}

// MocksRequest asks for the target's dependencies to be mocked.
type MocksRequest struct {
	Dependencies []string `json:"dependencies,omitempty"` // default: all of the scenario
	// Isolation "declared" says that the target has no way out but the mocks.
	// Without it, or proof, a mocked replay cannot pass.
	Isolation string `json:"isolation,omitempty"`
}

// Verdict is how a replay ended.
type Verdict string

// The verdicts. Anything not proved is not passed.
const (
	Passed     Verdict = "passed"
	Missed     Verdict = "missed"
	Incomplete Verdict = "incomplete" // some of it did not run or could not be checked
	Errored    Verdict = "error"      // it could not run
)

// ReplayResult is what came of a replay, at most 256 KiB; details lie in the
// archive.
type ReplayResult struct {
	ID         string           `json:"id"`
	Scenario   string           `json:"scenario"`
	Version    string           `json:"version,omitempty"`
	Target     string           `json:"target"`
	By         string           `json:"by,omitempty"`
	Verdict    Verdict          `json:"verdict"`
	Reason     string           `json:"reason,omitempty"`
	StartedAt  time.Time        `json:"started_at,omitzero"`
	EndedAt    time.Time        `json:"ended_at,omitzero"`
	Tests      Checked          `json:"tests"`
	Latency    Latency          `json:"latency"`
	Throughput float64          `json:"throughput"` // responses/s
	Errors     int              `json:"errors"`     // requests without a complete answer
	Endpoints  []EndpointResult `json:"endpoints,omitempty"`
	Misses     []Miss           `json:"misses,omitempty"` // the first 100
	Mocks      []MockResult     `json:"mocks,omitempty"`
	Isolation  string           `json:"isolation,omitempty"` // "proved", "declared", "unknown"
	Details    string           `json:"details,omitempty"`   // folder in the archive
}

// Checked counts tests.
type Checked struct {
	Total  int `json:"total"`
	Passed int `json:"passed"`
	Missed int `json:"missed"`
	Failed int `json:"failed"` // no complete answer
	// Unchecked tests prove nothing: the recording of them is truncated.
	Unchecked int `json:"unchecked,omitempty"`
	// Redacted of the passed answers hold other values where some were redacted:
	// of those only the class is known.
	Redacted int `json:"redacted,omitempty"`
}

// Latency is measured from the intended start of each request.
type Latency struct {
	Count int64         `json:"count"`
	Min   time.Duration `json:"min_ns"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
}

// EndpointResult is the result of one endpoint.
type EndpointResult struct {
	Method   string        `json:"method"`
	Template string        `json:"endpoint"`
	Tests    Checked       `json:"tests"`
	Latency  Latency       `json:"latency"`
	Recorded time.Duration `json:"recorded_p50_ns"` // what was recorded
}

// Miss is a test whose answer differs from the recorded one.
type Miss struct {
	Exchange ID           `json:"exchange"` // recorded
	Session  string       `json:"session"`
	Method   string       `json:"method"`
	Endpoint string       `json:"endpoint,omitempty"`
	Path     string       `json:"path"`
	Failure  string       `json:"failure,omitempty"` // no complete answer
	Diffs    []Difference `json:"diffs,omitempty"`
}

// Difference is one place where an answer differs.
type Difference struct {
	Place string `json:"place"` // "response.body.$.total"
	Want  string `json:"want"`
	Got   string `json:"got"`
}

// MockResult is what the mock of one dependency saw.
type MockResult struct {
	Dependency    string     `json:"dependency"`
	Address       string     `json:"address,omitempty"`
	Served        int        `json:"served"`
	Missed        int        `json:"missed"`
	PassedThrough int        `json:"passed_through"`
	Redacted      int        `json:"redacted,omitempty"` // of those served: another value stood where one was redacted
	Misses        []MockMiss `json:"misses,omitempty"`   // the first 20
}

// MockMiss is a call that no recorded exchange answers, with the closest one.
type MockMiss struct {
	Method  string       `json:"method"`
	Path    string       `json:"path"`
	Closest *ID          `json:"closest,omitempty"`
	Diffs   []Difference `json:"diffs,omitempty"` // to the closest
}

// ReplayControl tells replayers and mocks what to do.
type ReplayControl struct {
	ID           string        `json:"id"`     // of the replay
	Action       string        `json:"action"` // "prepare", "start", "cancel", "finish", "chaos-on", "chaos-off"
	Scenario     string        `json:"scenario,omitempty"`
	Version      string        `json:"version,omitempty"`
	Dependencies []string      `json:"dependencies,omitempty"` // to mock
	Delay        time.Duration `json:"delay_ns,omitempty"`     // start: counted from its receipt
	Reason       string        `json:"reason,omitempty"`
}

// ReplayMocked is what the mock of one dependency says: ready, then counts.
type ReplayMocked struct {
	ID    string `json:"id"`    // of the replay
	State string `json:"state"` // "ready", "final", "error"
	MockResult
	Proxy string `json:"proxy,omitempty"` // address of an HTTP proxy that answers for it as well
	Error string `json:"error,omitempty"`
}

// ReplayShard is a share of a replay: a rule, never a list.
type ReplayShard struct {
	ID      string `json:"id"` // of the replay
	Number  int    `json:"number"`
	From    uint32 `json:"from"` // session hash in [From, To)
	To      uint32 `json:"to"`
	Request ReplayRequest
}

// ReplayProgress is a 1 s snapshot of a shard, cumulative.
type ReplayProgress struct {
	ID        string        `json:"id"`
	Shard     int           `json:"shard"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	Planned   int           `json:"planned"` // requests in all
	Tests     Checked       `json:"tests"`
	Histogram []byte        `json:"histogram"` // of latencies, µs: HdrHistogram V2, compressed; base64 as JSON has it
	Final     bool          `json:"final,omitempty"`
}
