package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"tapedeck/internal/natstest"
)

func open(t *testing.T, owner string) *Jobs {
	t.Helper()
	_, js := natstest.New(t)
	j, err := Open(t.Context(), js, owner)
	if err != nil {
		t.Fatal(err)
	}
	j.age = 300 * time.Millisecond
	return j
}

func (j *Jobs) other(owner string) *Jobs {
	return &Jobs{kv: j.kv, owner: owner, age: j.age, seen: map[string]sighting{}}
}

func claim(t *testing.T, j *Jobs, key string, want State) *Lease {
	t.Helper()
	state, lease, err := j.Claim(t.Context(), key)
	if err != nil || state != want || (lease != nil) != (want == Claimed) {
		t.Fatalf("claim of %s by %s: %v, %v, %v, want %v", key, j.owner, state, lease, err, want)
	}
	return lease
}

func TestJobIsDoneOnce(t *testing.T) {
	a := open(t, "a")
	b := a.other("b")
	key := Key("scenario", "r1")
	lease := claim(t, a, key, Claimed)
	claim(t, b, key, Held)
	if err := lease.Finish(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	claim(t, b, key, Finished)
	claim(t, a, key, Finished)
}

func TestDeadWorkersJobIsTakenOver(t *testing.T) {
	a := open(t, "a")
	b := a.other("b")
	key := Key("scenario", "an id: with anything in it/é")
	dead := claim(t, a, key, Claimed)
	lease := takeOver(t, b, key)
	if err := dead.Finish(t.Context(), nil); !errors.Is(err, ErrLost) {
		t.Errorf("the dead finished: %v, want ErrLost", err)
	}
	if err := lease.Finish(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// takeOver claims until the lease is given up.
func takeOver(t *testing.T, j *Jobs, key string) *Lease {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		state, lease, err := j.Claim(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if state == Claimed {
			return lease
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatal("the lease was never given up")
	return nil
}

func TestKeptLeaseIsNotTakenOver(t *testing.T) {
	a := open(t, "a")
	b := a.other("b")
	lease := claim(t, a, "scenario.kept", Claimed)
	kept, stop := lease.Keep(t.Context())
	deadline := time.Now().Add(4 * a.age)
	for time.Now().Before(deadline) {
		claim(t, b, "scenario.kept", Held)
		<-time.After(50 * time.Millisecond)
	}
	if kept.Err() != nil {
		t.Errorf("lost a kept lease: %v", context.Cause(kept))
	}
	stop()
	takeOver(t, b, "scenario.kept")
}

func TestLostLeaseEndsTheWork(t *testing.T) {
	a := open(t, "a")
	lease := claim(t, a, "scenario.lost", Claimed)
	takeOver(t, a.other("b"), "scenario.lost")
	kept, stop := lease.Keep(t.Context())
	defer stop()
	select {
	case <-kept.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the work goes on")
	}
	if !errors.Is(context.Cause(kept), ErrLost) {
		t.Errorf("cause %v, want ErrLost", context.Cause(kept))
	}
}

func TestReleasedJobIsFree(t *testing.T) {
	a := open(t, "a")
	if err := claim(t, a, "scenario.free", Claimed).Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim(t, a.other("b"), "scenario.free", Claimed)
}
