package cli

import (
	"context"
	"fmt"
	"tapedeck/cli/demo"
	"tapedeck/internal/service"
)

func nextOn(data string, args ...string) string {
	if data != ".tapedeck" {
		args = append(args, "--data", data)
	}
	return commandLine(args...)
}

type demoCommand struct {
	Shop demoShop `cmd:"" hidden:"" help:"Run one service of the shop."`
}
type demoShop struct {
	demo.Config
}

func (c *demoShop) Run(ctx context.Context, env *Env) error {
	return demo.Run(ctx, c.Config, quiet(service.Flags{}, env))
}
func number(n int) cell { return cell{text: fmt.Sprint(n), right: true} }
