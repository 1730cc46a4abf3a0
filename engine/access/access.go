// Package access is who may use the proxy: users, their secrets, the hosts their secrets name.
package access

import "strings"

// User is one secret's holder. Users are immutable.
type User struct {
	Key  [16]byte
	Host string // the name its secret carries, lower case
}

// Table is an immutable set of users. The engine keeps the one in force behind an atomic pointer; any goroutine may read it.
type Table struct {
	byHost map[string][]*User
	count  int
}

// NewTable makes a table of users.
func NewTable(users []User) *Table {
	t := &Table{byHost: make(map[string][]*User, len(users)), count: len(users)}
	for _, u := range users {
		u.Host = strings.ToLower(u.Host)
		t.byHost[u.Host] = append(t.byHost[u.Host], &u)
	}
	return t
}

// Candidates are the users whose secrets name host (lower case). It does not allocate.
func (t *Table) Candidates(host []byte) []*User { return t.byHost[string(host)] }

// Len is the number of users.
func (t *Table) Len() int { return t.count }
