package replayer

import (
	"context"
	"time"

	"tapedeck/internal/service"
)

// waitUntil waits until a time, or until ctx is done: then it returns false.
func waitUntil(ctx context.Context, at time.Time) bool {
	if early := time.Until(at) - timerLead; early > 0 && !service.Sleep(ctx, early) {
		return false
	}
	pause(time.Until(at))
	return ctx.Err() == nil
}
