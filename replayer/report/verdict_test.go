package report

import (
	"testing"

	"tapedeck/events"
)

func TestJudge(t *testing.T) {
	all := events.Checked{Total: 3, Passed: 3}
	for _, tt := range []struct {
		name    string
		result  events.ReplayResult
		facts   Facts
		verdict events.Verdict
		reason  string
	}{
		{"all passed", events.ReplayResult{Tests: all}, Facts{}, events.Passed, "3 answers as recorded"},
		{"one passed", events.ReplayResult{Tests: events.Checked{Total: 1, Passed: 1}}, Facts{}, events.Passed, "1 answer as recorded"},
		{"nothing to test", events.ReplayResult{}, Facts{}, events.Incomplete, "there was nothing to test"},
		{"could not run", events.ReplayResult{Tests: all}, Facts{Failure: "target refused"}, events.Errored, "target refused"},
		{"cancelled", events.ReplayResult{Tests: events.Checked{Total: 3, Passed: 1, Missed: 1}}, Facts{Stopped: "cancelled"}, events.Incomplete, "cancelled after 2 of 3 tests"},
		{"a shard lost", events.ReplayResult{Tests: all}, Facts{LostShards: 1}, events.Incomplete, "1 shard of the replay got lost"},
		{"missed", events.ReplayResult{Tests: events.Checked{Total: 3, Passed: 1, Missed: 2}}, Facts{}, events.Missed, "2 of 3 answers not as recorded"},
		{"failed", events.ReplayResult{Tests: events.Checked{Total: 3, Passed: 2, Failed: 1}}, Facts{}, events.Missed, "1 request had no complete answer"},
		{"missed is known even if others are not", events.ReplayResult{Tests: events.Checked{Total: 3, Missed: 1, Unchecked: 2}}, Facts{}, events.Missed, "1 of 3 answers not as recorded"},
		{"truncated", events.ReplayResult{Tests: events.Checked{Total: 3, Passed: 2, Unchecked: 1}}, Facts{}, events.Incomplete, "1 of 3 tests could not be checked: their recordings are truncated"},
		{"not all ran", events.ReplayResult{Tests: events.Checked{Total: 3, Passed: 2}}, Facts{}, events.Incomplete, "2 of 3 tests ran"},
		{"mock missed", events.ReplayResult{Tests: all, Isolation: "proved", Mocks: []events.MockResult{{Dependency: "payments", Missed: 1}, {Dependency: "mail", Missed: 2}}}, Facts{Mocked: true},
			events.Missed, "1 call to payments without a recorded answer; 2 calls to mail without a recorded answer"},
		{"goal not reached", events.ReplayResult{Tests: all}, Facts{Goals: []string{"latency.p99 is 2s, the goal is < 1s"}}, events.Missed, "latency.p99 is 2s, the goal is < 1s"},
		{"isolation unknown", events.ReplayResult{Tests: all}, Facts{Mocked: true}, events.Incomplete,
			"it is not known whether the target called a real dependency: declare its isolation or run it under capture"},
		{"isolation declared", events.ReplayResult{Tests: all, Isolation: "declared"}, Facts{Mocked: true}, events.Passed, "3 answers as recorded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			verdict, reason := Judge(&tt.result, tt.facts)
			if verdict != tt.verdict || reason != tt.reason {
				t.Errorf("got %s: %s\nwant %s: %s", verdict, reason, tt.verdict, tt.reason)
			}
		})
	}
}
