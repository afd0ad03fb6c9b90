package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
)

type keyCommand struct {
	Create keyCreateCommand `cmd:"" help:"Make an API key; its secret is shown once."`
	List   keyListCommand   `cmd:"" help:"List API keys; never their secrets."`
	Rotate keyRotateCommand `cmd:"" help:"Give an API key a new secret, which is shown once; the old one stays good for a while."`
	Revoke keyRevokeCommand `cmd:"" help:"End an API key for ever."`
}

// keyOwner is whose a key is.
type keyOwner struct {
	Tenant   string `xor:"owner" help:"Tenant that the key belongs to; that of your key where it is absent." placeholder:"NAME"`
	Platform bool   `xor:"owner" help:"It is a key of the platform."`
	Project  string `default:"default" help:"Project of the tenant that the key belongs to." placeholder:"NAME"`
}

// parent is the parent of the key's name, empty for the platform.
func (o keyOwner) parent() string {
	if o.Platform {
		return ""
	}
	return tenantOrOwn(o.Tenant) + "/projects/" + o.Project
}

func (o keyOwner) role(word string) weirv1.KeyRole {
	if o.Platform {
		return weirv1.KeyRole_KEY_ROLE_PLATFORM
	}
	return weirv1.KeyRole(weirv1.KeyRole_value["KEY_ROLE_"+strings.ToUpper(word)])
}

type keyCreateCommand struct {
	connection
	keyOwner
	Name    string `required:"" help:"Name of the key, for reports and logs." placeholder:"NAME"`
	Role    string `enum:"member,admin,viewer,billing" default:"member" help:"Role of a tenant's key: member calls models and reads its tenant's costs; admin also applies policies and keeps keys; viewer reads all and calls nothing; billing reads costs and budgets alone."`
	Expires string `help:"When it ends: in 90d or 12h, or at 2027-01-01 or 2027-01-01T08:00:00Z; never where it is absent." placeholder:"WHEN"`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// madeKey is what -o json tells of a key with a secret.
type madeKey struct {
	Key     string `json:"key"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	Expires string `json:"expires,omitempty"`
	// OldGoodUntil is of the secret before.
	OldGoodUntil string `json:"old_good_until,omitempty"`
}

func (c *keyCreateCommand) Run(ctx context.Context, t terminal) error {
	expires, err := endOf(c.Expires, time.Now())
	if err != nil {
		return usageError(err)
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewTenantServiceClient(conn).CreateKey(ctx, &weirv1.CreateKeyRequest{
		Parent: c.parent(),
		KeyId:  c.Name,
		Key:    &weirv1.Key{Role: c.role(c.Role), ExpireTime: expires},
	})
	if err != nil {
		return told(err)
	}
	return showSecret(t, c.Output, answer.Key, answer.Secret)
}

// endOf reads when a key ends: after a time, or at one.
func endOf(text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	if length, err := policy.ParseDuration(text); err == nil {
		return timestamppb.New(now.Add(length)), nil
	}
	at, err := parseTime(text)
	if err != nil {
		return nil, fmt.Errorf("--expires: %q is neither a time nor a duration: write it as 90d, or as 2027-01-01", text)
	}
	return timestamppb.New(at), nil
}

func showSecret(t terminal, output string, key *weirv1.Key, secret string) error {
	until := timeText(key.OldSecretExpireTime)
	if output == "json" {
		return printJSON(t.out, madeKey{secret, key.Name, enumWord(key.Role.String(), "KEY_ROLE_"), timeText(key.ExpireTime), until})
	}
	fmt.Fprintln(t.out, secret)
	fmt.Fprintf(t.err, "This is the only time that the secret of %s is shown.\n", key.Name)
	if until != "" {
		fmt.Fprintf(t.err, "The one before is good until %s.\n", until)
	}
	return nil
}

type keyListCommand struct {
	connection
	listOutput
	Tenant   string `xor:"owner" help:"Tenant whose keys they are; that of your key where it is absent." placeholder:"NAME"`
	Platform bool   `xor:"owner" help:"The keys of the platform."`
	Project  string `default:"-" help:"Project whose keys they are; all where it is absent." placeholder:"NAME"`
}

type keyResult struct {
	Name    string `json:"name"`
	Project string `json:"project,omitempty"` // absent of the platform's
	Role    string `json:"role"`
	State   string `json:"state"`
	Created string `json:"created"`
	Expires string `json:"expires,omitempty"`
	Revoked string `json:"revoked,omitempty"`
	// OldGoodUntil is of the secret before the last rotation.
	OldGoodUntil string `json:"old_good_until,omitempty"`
}

func (c *keyListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewTenantServiceClient(conn)
	keys := []keyResult{}
	now := time.Now()
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListKeys(ctx, &weirv1.ListKeysRequest{Parent: keyOwner{c.Tenant, c.Platform, c.Project}.parent(), PageToken: token})
		for _, k := range answer.GetKeys() {
			keys = append(keys, keyResultOf(k, now))
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	l := list{
		header: []string{"project", "name", "role", "state", "created", "expires", "revoked", "old_good_until"}, empty: "there are no keys",
		json: struct {
			Keys []keyResult `json:"keys"`
		}{keys},
	}
	for _, k := range keys {
		l.rows = append(l.rows, []string{k.Project, k.Name, k.Role, k.State, k.Created, k.Expires, k.Revoked, k.OldGoodUntil})
	}
	return c.print(t, l)
}

func keyResultOf(k *weirv1.Key, now time.Time) keyResult {
	state := "good"
	switch {
	case k.RevokeTime != nil:
		state = "revoked"
	case k.ExpireTime != nil && !now.Before(k.ExpireTime.AsTime()):
		state = "expired"
	}
	project := ""
	if strings.HasPrefix(k.Name, "tenants/") {
		project = segmentOf(k.Name, 3)
	}
	return keyResult{
		Name: lastSegment(k.Name), Project: project, Role: enumWord(k.Role.String(), "KEY_ROLE_"), State: state,
		Created: timeText(k.CreateTime), Expires: timeText(k.ExpireTime), Revoked: timeText(k.RevokeTime), OldGoodUntil: timeText(k.OldSecretExpireTime),
	}
}

// keyPlace names a key.
type keyPlace struct {
	Name string `arg:"" help:"Name of the key."`
	keyOwner
}

func (p keyPlace) full() string { return path.Join(p.parent(), "keys", p.Name) }

type keyRotateCommand struct {
	connection
	keyPlace
	Overlap string `default:"24h" help:"How long the old secret stays good, such as 2h or 7d, at most 30d; 0s ends it at once." placeholder:"DURATION"`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *keyRotateCommand) Run(ctx context.Context, t terminal) error {
	overlap, err := policy.ParseDuration(c.Overlap)
	if err != nil {
		return usageError(fmt.Errorf("--overlap: %w", err))
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewTenantServiceClient(conn).RotateKey(ctx, &weirv1.RotateKeyRequest{Name: c.full(), Overlap: durationpb.New(overlap)})
	if err != nil {
		return told(err)
	}
	return showSecret(t, c.Output, answer.Key, answer.Secret)
}

type keyRevokeCommand struct {
	connection
	keyPlace
}

func (c *keyRevokeCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewTenantServiceClient(conn).RevokeKey(ctx, &weirv1.RevokeKeyRequest{Name: c.full()})
	if err != nil {
		return told(err)
	}
	_, err = fmt.Fprintf(t.out, "%s is revoked since %s\n", answer.Key.GetName(), timeText(answer.Key.GetRevokeTime()))
	return err
}

// parseTime reads a day or a moment.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("not a time")
}
