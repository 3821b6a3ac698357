package jobs

import "testing"

func TestResult(t *testing.T) {
	j := open(t, "a")
	lease := claim(t, j, "shard.r1.0", Claimed)
	for _, tt := range []struct {
		finish any
		want   string
	}{{nil, ""}, {map[string]int{"passed": 3}, `{"passed":3}`}} {
		if err := lease.Finish(t.Context(), tt.finish); err != nil {
			t.Fatal(err)
		}
		if got, err := j.Result(t.Context(), "shard.r1.0"); err != nil || string(got) != tt.want {
			t.Errorf("result %s, %v, want %s", got, err, tt.want)
		}
	}
	if got, err := j.Result(t.Context(), "shard.none.0"); err != nil || got != nil {
		t.Errorf("result of no job: %s, %v", got, err)
	}
}
