package replayer

import (
	"syscall"
	"time"
)

// timerLead is how long before its time a wait leaves Go's timers, which are
// late by up to a millisecond when the process is idle, for the kernel's.
const timerLead = 1500 * time.Microsecond

// pause sleeps for a short time, precisely: it holds a thread meanwhile.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(d.Nanoseconds())
	syscall.Nanosleep(&t, nil) // an interrupted one is a little early
}
