package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

type serveCommand struct {
	Config string        `short:"c" help:"Configuration file: backends and models. Without one, the simulator and a tenant demo." placeholder:"FILE"`
	Data   string        `help:"Folder of the SQLite database and the first keys (default weir-data)." placeholder:"DIR"`
	GRPC   string        `name:"grpc" help:"gRPC address (default 127.0.0.1:8443)." placeholder:"HOST:PORT"`
	HTTP   string        `name:"http" help:"HTTP address (default 127.0.0.1:8080)." placeholder:"HOST:PORT"`
	Admin  string        `help:"Address of metrics, profiles and channelz, for operators only (default 127.0.0.1:8081, or a free port where that is taken)." placeholder:"HOST:PORT"`
	Store  string        `help:"postgres://… for several replicas on one database; SQLite in the data folder where it is absent (WEIR_STORE)." placeholder:"URL"`
	Grace  time.Duration `help:"How long running calls may go on after SIGTERM (default 30s)." placeholder:"DURATION"`
}

func (c *serveCommand) Run(ctx context.Context, t terminal) error {
	config, warnings, err := c.config(t)
	if err != nil {
		return usageError(err)
	}
	log := newLogger(t.err, config.Log)
	slog.SetDefault(log)
	for _, w := range warnings {
		log.Warn(w)
	}
	if _, set := t.getenv("GOGC"); !set {
		// A gateway allocates much and keeps little, so collecting less often
		// costs little memory.
		debug.SetGCPercent(400)
	}
	w, err := open(ctx, config, c.Config == "", t, log)
	if err != nil {
		return unavailableError(err)
	}
	defer w.close()
	if c.Config != "" {
		go c.reload(ctx, w, t, log)
	}
	grpc, http, admin := w.server.Addresses()
	return w.serve(ctx, func() {
		fmt.Fprintf(t.err, "weir is ready: grpc %s, http %s, admin %s\n", grpc, http, admin)
	})
}

// unavailableError gives failures of the database a code of their own.
func unavailableError(err error) error {
	var coded *codedError
	if errors.As(err, &coded) {
		return err
	}
	return &codedError{exitUnavailable, err}
}

// config is the file, or the defaults, with the flags on top.
func (c *serveCommand) config(t terminal) (Config, []string, error) {
	config := defaultConfig()
	var warnings []string
	if c.Config == "" {
		config.demoModels()
	} else {
		var err error
		if config, warnings, err = loadConfig(c.Config, t.getenv); err != nil {
			return config, nil, err
		}
	}
	if store, set := t.getenv("WEIR_STORE"); set && config.Store == "" {
		config.Store = store
	}
	for _, f := range []struct {
		flag string
		to   *string
	}{
		{c.Data, &config.Data}, {c.GRPC, &config.Listen.GRPC}, {c.HTTP, &config.Listen.HTTP},
		{c.Admin, &config.Listen.Admin}, {c.Store, &config.Store},
	} {
		if f.flag != "" {
			*f.to = f.flag
		}
	}
	if c.Grace > 0 {
		config.Grace = Duration(c.Grace)
	}
	return config, warnings, nil
}

// reload reads the configuration file again on SIGHUP: backends and models
// change for the calls that come after, and so do the contents of the
// certificates' files; listeners and store do not.
func (c *serveCommand) reload(ctx context.Context, w *weir, t terminal, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		select {
		case w.renew <- struct{}{}:
		default: // they are to be read again already
		}
		config, warnings, err := c.config(t)
		if err == nil {
			err = w.route(config)
		}
		if err != nil {
			log.Error("the configuration was not reloaded; what was in force stays in force", "error", err)
			continue
		}
		for _, w := range warnings {
			log.Warn(w)
		}
		log.Info("backends and models are reloaded", "file", c.Config)
	}
}

func newLogger(w io.Writer, c LogConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // Config.check has seen it
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
