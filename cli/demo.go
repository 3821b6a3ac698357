package cli

import (
	"context"

	"tapedeck/cli/demo"
	"tapedeck/internal/service"
)

type demoCommand struct {
	Shop demoShop `cmd:"" hidden:"" help:"Run one service of the shop."`
}

// demoShop is a process of the shop: the demo starts them, and so can you.
type demoShop struct {
	demo.Config
}

func (c *demoShop) Run(ctx context.Context, env *Env) error {
	flags := service.Flags{Log: "warn"}
	return demo.Run(ctx, c.Config, flags.Logger(env.Stderr))
}
