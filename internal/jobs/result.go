package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Result is what the worker of a finished job wrote; nil when the job is not
// finished or there is none.
func (j *Jobs) Result(ctx context.Context, key string) (json.RawMessage, error) {
	entry, err := j.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("result of job %s: %w", key, err)
	}
	var r Record
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		return nil, fmt.Errorf("result of job %s: its record: %w", key, err)
	}
	if !r.Finished || string(r.Result) == "null" {
		return nil, nil
	}
	return r.Result, nil
}
