package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// takes are the statements after which a Weir of the version before does not find
// what it reads, or cannot write what it writes.
var takes = regexp.MustCompile(`(?i)\bDROP (TABLE|COLUMN|VIEW|FUNCTION|CONSTRAINT)\b|\bRENAME\b|\bALTER COLUMN\b|^TRUNCATE\b|\bADD (CONSTRAINT|CHECK|UNIQUE|FOREIGN KEY|PRIMARY KEY)\b|\bCREATE UNIQUE INDEX\b|\bADD COLUMN\b.*\bNOT NULL\b`)

// allowed are those that may stand, with the reason. A new one needs a better
// reason than that it is convenient: add now, and take away a version later.
var allowed = map[string]string{
	"00003_leases.sql: ALTER TABLE windows RENAME COLUMN held TO leased":                     "no version before it was released",
	"00003_leases.sql: DROP TABLE opens":                                                     "no version before it was released",
	"00005_admin.sql: CREATE UNIQUE INDEX keys_old_hash ON keys (old_hash)":                  "the column is new, and earlier Weirs leave it NULL",
	"00010_days.sql: EXECUTE format('ALTER TABLE allocations DROP CONSTRAINT %I', name)":     "it takes a check away: what earlier Weirs write is still taken",
	"00010_days.sql: ALTER TABLE lines RENAME TO lines_before":                               "the same transaction makes a table of the old name, columns and keys",
	"00010_days.sql: ALTER INDEX lines_pkey RENAME TO lines_before_pkey":                     "no statement names an index",
	"00010_days.sql: ALTER INDEX lines_tenant_started RENAME TO lines_before_tenant_started": "no statement names an index",
}

func taking(text string) (list []string) {
	comments := regexp.MustCompile(`--[^\n]*`)
	for statement := range strings.SplitSeq(comments.ReplaceAllString(text, ""), ";") {
		statement = strings.Join(strings.Fields(statement), " ")
		// Of a block only the statement counts that it is at.
		if at := regexp.MustCompile(`\b(LOOP|BEGIN) `).FindAllStringIndex(statement, -1); at != nil {
			statement = statement[at[len(at)-1][1]:]
		}
		given := strings.Contains(strings.ToUpper(statement), " DEFAULT ")
		if found := takes.FindString(statement); found != "" && !(given && strings.HasPrefix(strings.ToUpper(found), "ADD COLUMN")) {
			list = append(list, statement)
		}
	}
	return list
}

// TestMigrationsOnlyAdd keeps the promise that Weirs of the version before may
// run, and start, on a database that is migrated.
func TestMigrationsOnlyAdd(t *testing.T) {
	files, err := filepath.Glob("*/migrations/*.sql")
	if err != nil || len(files) < 16 {
		t.Fatalf("migrations %q, %v", files, err)
	}
	used := map[string]bool{}
	numbers := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		numbers[name]++
		for _, statement := range taking(string(text)) {
			key := name + ": " + statement
			if used[key] = true; allowed[key] == "" {
				t.Errorf("%s: %q is not for Weirs of the version before: add only, or say in allowed why it does no harm", file, statement)
			}
		}
	}
	for key := range allowed {
		if !used[key] {
			t.Errorf("allowed is no longer needed: %s", key)
		}
	}
	for name, n := range numbers {
		if n != 2 {
			t.Errorf("%s is not in both engines", name)
		}
	}
}

func TestTakingStatementsAreFound(t *testing.T) {
	got := taking(`CREATE TABLE a (b TEXT NOT NULL); -- DROP TABLE x;
		alter table a drop column b; ALTER TABLE a ADD COLUMN c TEXT NOT NULL;
		ALTER TABLE a ADD COLUMN d TEXT NOT NULL DEFAULT ''; ALTER TABLE a ADD COLUMN e TEXT;
		ALTER TABLE a RENAME COLUMN b TO c; ALTER TABLE a ALTER COLUMN b SET NOT NULL`)
	want := []string{"alter table a drop column b", "ALTER TABLE a ADD COLUMN c TEXT NOT NULL", "ALTER TABLE a RENAME COLUMN b TO c", "ALTER TABLE a ALTER COLUMN b SET NOT NULL"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q; want %q", got, want)
	}
}
