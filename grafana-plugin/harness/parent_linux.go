package harness

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the plugin when this process is killed: nobody else would.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
