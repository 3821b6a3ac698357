package e2e

import (
	"encoding/json"
	"log/slog"

	"tapedeck/events"
	"tapedeck/internal/s3test"
	"tapedeck/replayer"
	"tapedeck/scenariogen"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// A multipart upload can't be replayed: the server makes up its id, and that is
// a part of what each later request has signed.
const (
	multipartPath = "/data/multi/part"
	replayed      = `{service="s3" && path!="` + multipartPath + `"}`
)

// Each answer of S3 has a new id, which may be letters only.
var requestIDs = []events.Assertion{
	{Place: "response.body.$.Error.RequestId", Rule: scenario.RuleExists},
	{Place: "response.body.$.Error.HostId", Rule: scenario.RuleExists},
}

// slowly leaves a busy machine twice the recorded time between a put and the
// get that wants to see it, which come on different connections.
var slowly = events.Load{Mode: "recorded", Speed: 0.5}

// replays makes a scenario of the recording and replays it against an equally
// filled server: every answer is as recorded. Signatures hold, for 15 minutes,
// because host and headers are sent as they were.
func (r *recording) replays(target *s3test.Server, recorded []*call) {
	r.t.Helper()
	tests, cutOff := 0, 0
	for _, c := range recorded {
		if c.path != multipartPath {
			tests++
		}
		if c.partial { // a request that was cut off can't be sent again
			cutOff++
		}
	}
	made, err := scenariogen.Create(r.t.Context(), scenariogen.Config{}, scenariogen.Deps{
		Archive: r.archive, Index: r.reader, Protocols: []wire.Protocol{&http1.Protocol{}}, Log: slog.New(slog.DiscardHandler),
	}, events.ScenarioRequest{ID: "e2e", Name: "s3", Selector: replayed})
	if err != nil {
		r.t.Fatal(err)
	}
	if made.Tests > tests || made.Tests < tests-cutOff || made.Mocks != 0 {
		r.t.Errorf("the scenario has %d tests and %d mocks, want %d, less at most %d, and none", made.Tests, made.Mocks, tests, cutOff)
	}
	s, err := scenario.Open(r.t.Context(), r.archive, "s3", made.Version)
	if err != nil {
		r.t.Fatal(err)
	}
	result, err := replayer.Run(r.t.Context(), replayer.Options{
		Scenario: s, Archive: r.archive,
		Request: events.ReplayRequest{Load: slowly, ID: events.NewID(r.capture.Source().Time()).String(), Scenario: "s3", Target: target.Endpoint(), Assertions: requestIDs},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if result.Verdict != events.Passed || result.Tests.Passed != made.Tests {
		misses, _ := json.MarshalIndent(result.Misses, "", " ")
		r.t.Errorf("verdict %s: %s, %+v\n%s", result.Verdict, result.Reason, result.Tests, misses)
	}
}
