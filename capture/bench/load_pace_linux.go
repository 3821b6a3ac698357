package main

import (
	"syscall"
	"time"
)

// pause sleeps precisely; it holds a thread meanwhile.
func pause(d time.Duration) {
	t := syscall.NsecToTimespec(d.Nanoseconds())
	syscall.Nanosleep(&t, nil) // an interrupted one is asked for again
}
