// Go's clients of PostgreSQL, pgx and lib/pq. Prints one line for each check, which is the same for EBAP and PostgreSQL.
//
//	clients URL
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/lib/pq"
)

const long = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 10000000) b"

var values = []string{
	"true", "1::int2", "2::int", "3::bigint", "1.50::numeric", "'NaN'::numeric", "0.1::float8", "1.5::real", "'x'",
	"'\\x00ff'::bytea", "'2024-02-29'::date", "'2024-02-29 12:00:00'::timestamp", "'2024-02-29 12:00:00Z'::timestamptz",
	"'{\"a\":1}'::jsonb", "ARRAY[1,2]", "ARRAY['a','b']", "ARRAY[1.5, 2.5]::float8[]", "'1 day 2 hours'::interval",
	"'00112233-4455-6677-8899-aabbccddeeff'::uuid", "NULL::int", "'12:00:01'::time",
}

func check(name string, run func() (any, error)) {
	value, err := run()
	var failed *pgconn.PgError
	var refused *pq.Error
	switch {
	case errors.As(err, &failed):
		fmt.Println(name, "fails with", failed.Code)
	case errors.As(err, &refused):
		fmt.Println(name, "fails with", refused.Code)
	case err != nil:
		fmt.Println(name, "fails:", err)
	default:
		fmt.Printf("%s: %v\n", name, value)
	}
}

func checkPgx(ctx context.Context, url string, client *pgx.Conn) {
	for _, value := range values {
		check("pgx "+value, func() (any, error) {
			var found any
			err := client.QueryRow(ctx, "SELECT "+value).Scan(&found)
			if at, ok := found.(time.Time); ok {
				found = at.UTC()
			}
			return fmt.Sprintf("%T %v", found, found), err
		})
	}
	check("pgx parameters", func() (any, error) {
		var number int
		var text string
		var list []int32
		var at time.Time
		var exact pgtype.Numeric
		row := client.QueryRow(ctx, "SELECT $1::int + 1, $2::text, $3::int[], $4::timestamptz, $5::numeric",
			4, "x", []int32{1, 5}, time.Unix(0, 0), "1.50")
		err := row.Scan(&number, &text, &list, &at, &exact)
		return fmt.Sprint(number, text, list, at.UTC(), exact.Int, exact.Exp), err
	})
	check("pgx = ANY of numbers", func() (any, error) {
		var found bool
		err := client.QueryRow(ctx, "SELECT 5 = ANY($1)", []int{1, 5}).Scan(&found)
		return found, err
	})
	check("pgx = ANY of texts", func() (any, error) {
		var found bool
		err := client.QueryRow(ctx, "SELECT 'b' = ANY($1)", []string{"a", "b"}).Scan(&found)
		return found, err
	})
	check("pgx batch", func() (any, error) {
		batch := &pgx.Batch{}
		for number := range 3 {
			batch.Queue("SELECT $1::int * 2", number)
		}
		results := client.SendBatch(ctx, batch)
		defer results.Close()
		sum := 0
		for range 3 {
			var one int
			if err := results.QueryRow().Scan(&one); err != nil {
				return nil, err
			}
			sum += one
		}
		return sum, nil
	})
	check("pgx savepoint", func() (any, error) {
		transaction, err := client.Begin(ctx)
		if err != nil {
			return nil, err
		}
		inner, err := transaction.Begin(ctx)
		if err != nil {
			return nil, err
		}
		_, failed := inner.Exec(ctx, "SELECT 1 / 0")
		if err := inner.Rollback(ctx); err != nil {
			return nil, err
		}
		var one int
		err = transaction.QueryRow(ctx, "SELECT 7").Scan(&one)
		return fmt.Sprint(failed, one, transaction.Commit(ctx)), err
	})
	check("pgx rows", func() (any, error) {
		rows, err := client.Query(ctx, "SELECT n, n::text FROM generate_series(1, 1000) g(n)")
		if err != nil {
			return nil, err
		}
		all, err := pgx.CollectRows(rows, pgx.RowToMap)
		return len(all), err
	})
	check("pgx timeout", func() (any, error) {
		limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		other, err := pgx.Connect(ctx, url)
		if err != nil {
			return nil, err
		}
		_, err = other.Exec(limited, long)
		return errors.Is(err, context.DeadlineExceeded), nil
	})
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeCacheDescribe,
	} {
		check(fmt.Sprint("pgx ", mode), func() (any, error) {
			var number int
			var text string
			err := client.QueryRow(ctx, "SELECT $1::int + 1, $2::text", mode, 4, "it's").Scan(&number, &text)
			return fmt.Sprint(number, text), err
		})
	}
	check("pgx error", func() (any, error) { return client.Exec(ctx, "SELECT * FROM nowhere") })
}

func checkPq(pool *sql.DB) {
	check("pq parameters", func() (any, error) {
		var number int
		var text string
		var list []int64
		row := pool.QueryRow("SELECT $1::int + 1, $2::text, $3::bigint[]", 4, "x", pq.Array([]int64{1, 2}))
		err := row.Scan(&number, &text, pq.Array(&list))
		return fmt.Sprint(number, text, list), err
	})
	check("pq statement", func() (any, error) {
		statement, err := pool.Prepare("SELECT n FROM generate_series(1, $1::int) g(n) WHERE n > $2")
		if err != nil {
			return nil, err
		}
		count := 0
		for number := range 3 {
			rows, err := statement.Query(10, number)
			if err != nil {
				return nil, err
			}
			for rows.Next() {
				count++
			}
		}
		return count, nil
	})
	check("pq error", func() (any, error) { return pool.Exec("SELECT * FROM nowhere") })
	check("pq types", func() (any, error) {
		var bytes []byte
		var at time.Time
		var number float64
		var truth bool
		row := pool.QueryRow("SELECT '\\x00ff'::bytea, '2024-02-29 12:00:00Z'::timestamptz, 1.5::numeric, true")
		err := row.Scan(&bytes, &at, &number, &truth)
		return fmt.Sprint(bytes, at.UTC(), number, truth), err
	})
	check("pq transaction", func() (any, error) {
		transaction, err := pool.Begin()
		if err != nil {
			return nil, err
		}
		var one int
		err = transaction.QueryRow("SELECT 1").Scan(&one)
		return fmt.Sprint(one, transaction.Rollback()), err
	})
}

func main() {
	ctx, url := context.Background(), os.Args[1]
	client, err := pgx.Connect(ctx, url)
	if err != nil {
		fmt.Println("pgx does not connect:", err)
		os.Exit(1)
	}
	checkPgx(ctx, url, client)
	pool, err := sql.Open("postgres", url)
	if err != nil {
		fmt.Println("pq does not connect:", err)
		os.Exit(1)
	}
	checkPq(pool)
}
