package main

import (
	"cmp"
	"context"
	"time"

	"github.com/weir-gateway/weir/server/backend/credential"
)

// KeyConfig is where the key of a server outside comes from; empty for none.
type KeyConfig struct {
	// Key is the key itself: a bearer token, of a backend of kind anthropic
	// x-api-key and of kind gemini x-goog-api-key.
	Key string `yaml:"key"`
	// KeyFile is a file with the key, read again when it changes; KeyCommand a
	// program that prints it, and its arguments, run again when KeyTTL has passed (5m where
	// nothing is said). Both give a newer key where the server has refused one.
	KeyFile    string   `yaml:"key_file"`
	KeyCommand []string `yaml:"key_command"`
	KeyTTL     Duration `yaml:"key_ttl"`
}

// checkKey tells what is wrong with how the key is given.
func (c KeyConfig) checkKey() (field, problem string) {
	file, command := c.KeyFile != "", len(c.KeyCommand) > 0
	switch {
	case c.Key != "" && (file || command), file && command:
		return "key", "the key is given in two ways: keep one of key, key_file and key_command"
	case command && c.KeyCommand[0] == "":
		return "key_command", "names no program: write it as [program, argument]"
	case c.KeyTTL != 0 && !command:
		return "key_ttl", "it is for key_command alone: leave it out"
	}
	return "", ""
}

const keyTTL = 5 * time.Minute

// source is the key where it may change, nil where it does not. A file must have
// one now; a program is run when there is a call.
func (c KeyConfig) source() (credential.Key, error) {
	switch {
	case c.KeyFile != "":
		key := credential.File(c.KeyFile, time.Now)
		if _, err := key(context.Background(), ""); err != nil {
			return nil, err
		}
		return key, nil
	case len(c.KeyCommand) > 0:
		return credential.Command(c.KeyCommand, cmp.Or(time.Duration(c.KeyTTL), keyTTL), time.Now), nil
	}
	return nil, nil
}
