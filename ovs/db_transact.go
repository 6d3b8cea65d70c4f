package ovs

import (
	"context"
	"errors"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/overlane/overlane/ovs/vswitch"
)

// transaction gathers operations that are to happen together or not at all.
type transaction struct {
	db     *DB
	client client.Client
	ops    []ovsdb.Operation
	named  int
	err    error // of the first operation that could not be expressed

	releases []func() // of port numbers, when all is over
}

// begin fails at once when the server is away.
func (db *DB) begin() (*transaction, error) {
	if !db.Connected() {
		return nil, ErrNotConnected
	}
	return &transaction{db: db, client: db.session.Load().client}, nil
}

func (t *transaction) add(ops []ovsdb.Operation, err error) {
	t.ops = append(t.ops, ops...)
	if t.err == nil {
		t.err = err
	}
}

// name makes one up for a row to be created (letters, digits and underscores; RFC 7047 section 3.1, <id>).
func (t *transaction) name() string {
	t.named++
	return fmt.Sprintf("row%d", t.named)
}

// create inserts a row. Its UUID is a name for it within the transaction.
func (t *transaction) create(row model.Model) { t.add(t.client.Create(row)) }

// update writes columns of an existing row, given as pointers into row.
func (t *transaction) update(row model.Model, columns ...any) {
	t.add(t.client.Where(row).Update(row, columns...))
}

// insert and remove change single values of a set or map column, given as a pointer into row.
func (t *transaction) insert(row model.Model, column, value any) {
	t.mutate(row, column, ovsdb.MutateOperationInsert, value)
}

func (t *transaction) remove(row model.Model, column, value any) {
	t.mutate(row, column, ovsdb.MutateOperationDelete, value)
}

func (t *transaction) mutate(row model.Model, column any, how ovsdb.Mutator, value any) {
	t.add(t.client.Where(row).Mutate(row, model.Mutation{Field: column, Mutator: how, Value: value}))
}

// commit sends the operations. Only the results of each operation tell whether it went well: the call itself succeeds
// also when a constraint was violated.
func (t *transaction) commit(ctx context.Context) ([]ovsdb.OperationResult, error) {
	if t.err != nil {
		return nil, t.err
	}
	results, err := t.client.Transact(ctx, t.ops...)
	if errors.Is(err, client.ErrNotConnected) {
		return nil, ErrNotConnected
	}
	if err != nil {
		return nil, err
	}
	if failed, err := ovsdb.CheckOperationResults(results, t.ops); err != nil {
		if len(failed) > 0 {
			return nil, failed[0]
		}
		return nil, err
	}
	return results, nil
}

// apply commits and waits until ovs-vswitchd has made it so: the database's next_cfg is counted up, and ovs-vswitchd
// writes the number that it has reached into cur_cfg (ovs-vswitchd.conf.db(5), Open_vSwitch table).
func (t *transaction) apply(ctx context.Context) error {
	root := t.db.rows().root()
	if root == nil {
		return errors.New(`the database is empty; run "ovs-vsctl init"`)
	}
	row := &vswitch.OpenvSwitch{UUID: root.UUID}
	t.mutate(row, &row.NextCfg, ovsdb.MutateOperationAdd, 1)
	t.ops = append(t.ops, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: vswitch.OpenvSwitchTable, Columns: []string{"next_cfg"}, Where: []ovsdb.Condition{}})
	results, err := t.commit(ctx)
	if err != nil {
		return err
	}
	next, err := nextConfig(results)
	if err != nil {
		return err
	}
	return t.db.await(ctx, "ovs-vswitchd to take the configuration (is it running?)", func() bool {
		root := t.db.rows().root()
		return root != nil && root.CurCfg >= next
	})
}

func nextConfig(results []ovsdb.OperationResult) (int, error) {
	rows := results[len(results)-1].Rows
	if len(rows) != 1 {
		return 0, fmt.Errorf("table Open_vSwitch has %d rows, want 1", len(rows))
	}
	next, ok := rows[0]["next_cfg"].(float64)
	if !ok {
		return 0, fmt.Errorf("next_cfg is %v", rows[0]["next_cfg"])
	}
	return int(next), nil
}

// await returns when reached says so, looking again at every change of the database.
func (db *DB) await(ctx context.Context, what string, reached func() bool) error {
	for {
		change := db.nextChange() // before looking, so that none is missed
		if reached() {
			db.changes.Add(1) // the caller looks further, perhaps before all has been told
			return nil
		}
		if !db.Connected() {
			return fmt.Errorf("wait for %s: %w", what, ErrNotConnected)
		}
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}
