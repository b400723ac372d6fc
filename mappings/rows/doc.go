// Package rows turns rows as SQLite holds them into rows that PostgreSQL can
// hold and Open WebUI reads the same.
//
// What a value becomes depends on the type of PostgreSQL's column and on the
// storage class of the value, never on SQLite's declared type. JSON keeps its
// text byte for byte: [Scan] only looks whether PostgreSQL would accept it and
// whether it could read it back later. Whatever has to be changed is told, and
// so is whatever cannot be converted.
//
// The cases and what is right for each were found by running Open WebUI 0.12.4
// on SQLite and on PostgreSQL 18 with such rows.
package rows
