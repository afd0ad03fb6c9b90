package main

import (
	"bufio"
	"context"
	"encoding/json"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type auditCommand struct {
	List   auditListCommand   `cmd:"" help:"Tell who changed which document or key last, newest first."`
	Export auditExportCommand `cmd:"" help:"Write the whole audit log, newest first, with what was there before and after."`
}

type auditListCommand struct {
	connection
	listOutput
	Tenant string `default:"-" help:"Tenant whose documents and keys they are; all that the key may see where it is absent." placeholder:"NAME"`
	Limit  int32  `default:"50" help:"Most changes to tell, at most 100." placeholder:"N"`
}

type auditExportCommand struct {
	connection
	Tenant string `default:"-" help:"Tenant whose documents and keys they are; all that the key may see where it is absent." placeholder:"NAME"`
	Output string `short:"o" enum:"jsonl" default:"jsonl" help:"jsonl: one JSON object a line."`
}

// auditResult is what is told of one change.
type auditResult struct {
	Revision  int64  `json:"revision"`
	Number    int64  `json:"number"`
	Time      string `json:"time"`
	Tenant    string `json:"tenant,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Action    string `json:"action"`
	ByTenant  string `json:"by_tenant,omitempty"`
	ByProject string `json:"by_project,omitempty"`
	ByKey     string `json:"by_key,omitempty"`
	ByRole    string `json:"by_role,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Before    string `json:"before,omitempty"`
	After     string `json:"after,omitempty"`
}

func auditResultOf(e *weirv1.AuditEvent) auditResult {
	by := e.GetAuthor()
	return auditResult{
		e.Revision, e.Number, timeText(e.CreateTime), e.Tenant, e.Kind, e.Name, e.Action, by.GetTenant(), by.GetProject(), by.GetKey(), by.GetRole(), e.RequestId, e.Before, e.After,
	}
}

func (c *auditListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAdminServiceClient(conn).ListAuditEvents(ctx, &weirv1.ListAuditEventsRequest{Parent: "tenants/" + c.Tenant, PageSize: c.Limit})
	if err != nil {
		return told(err)
	}
	events := []auditResult{}
	l := list{header: []string{"time", "action", "kind", "tenant", "name", "by", "role", "request_id"}, empty: "nothing was changed"}
	for _, e := range answer.Events {
		r := auditResultOf(e)
		events = append(events, r)
		by := r.ByKey
		switch {
		case by == "":
			by = "weir"
		case r.ByTenant != "":
			by = r.ByTenant + "/" + r.ByProject + "/" + by
		}
		l.rows = append(l.rows, []string{r.Time, r.Action, r.Kind, r.Tenant, r.Name, by, r.ByRole, r.RequestID})
	}
	l.json = struct {
		Events []auditResult `json:"events"`
	}{events}
	return c.print(t, l)
}

func (c *auditExportCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewAdminServiceClient(conn)
	out := bufio.NewWriter(t.out)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListAuditEvents(ctx, &weirv1.ListAuditEventsRequest{Parent: "tenants/" + c.Tenant, PageToken: token})
		for _, e := range answer.GetEvents() {
			if err := encoder.Encode(auditResultOf(e)); err != nil {
				return "", err
			}
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	return out.Flush()
}
