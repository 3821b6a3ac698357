//go:build !linux

package replayer

import "time"

const timerLead = 0

func pause(d time.Duration) { time.Sleep(d) }
