package main

import (
	"runtime"
	"time"
)

// pace hands out the times to send at, each when it has come, to workers that
// may be busy: then it counts as late.
func (w *loader) pace() {
	runtime.LockOSThread() // Go's own timers are late by a millisecond
	defer runtime.UnlockOSThread()
	defer close(w.due)
	for i := range int64(w.Rate * w.Duration.Seconds()) {
		at := time.Duration(float64(i) * float64(time.Second) / w.Rate)
		for now := time.Since(w.begun); now < at; now = time.Since(w.begun) {
			pause(at - now)
		}
		w.due <- at
	}
}
