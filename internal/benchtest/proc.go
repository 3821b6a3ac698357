package benchtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Stat is a process in /proc/PID/stat (proc_pid_stat(5)).
type Stat struct {
	Parent int
	CPU    time.Duration // with its ended children
}

// StatOf reads it; a process that has gone is zero.
func StatOf(pid int) Stat {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
	ticks := number(11) + number(12) + number(13) + number(14) // of which Linux has 100 a second
	return Stat{Parent: number(1), CPU: time.Duration(ticks) * 10 * time.Millisecond}
}

// Children are the processes that pid has now.
func Children(pid int) []int {
	var children []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && child != pid && StatOf(child).Parent == pid {
			children = append(children, child)
		}
	}
	return children
}

func treeCPU(pid int) time.Duration {
	total := StatOf(pid).CPU
	for _, child := range Children(pid) {
		total += treeCPU(child)
	}
	return total
}

func treeMemory(pid int) (most, now int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	most, now = kibibytes(string(b), "VmHWM:"), kibibytes(string(b), "VmRSS:")
	for _, child := range Children(pid) {
		m, n := treeMemory(child)
		most, now = most+m, now+n
	}
	return most, now
}

// kibibytes reads a line such as "VmRSS:	  1234 kB".
func kibibytes(status, name string) int64 {
	_, rest, _ := strings.Cut(status, name)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n << 10
}
