;; A whole plugin of a few hundred bytes: what the tests damage by the thousand, for it compiles in a few milliseconds.
;;
;; It answers its input, lists two rows a page, and makes an event of a poll. On its way it does a little of everything that
;; a plugin does: it takes memory, sums in a loop, calls through a table, asks for the time, writes a line, reads and keeps
;; a value. `tiny.wasm` is this module with the contract's world in it (`wasm-tools component embed wit --world plugin`),
;; made a component (`wasm-tools component new`).
(module
  (import "wharfage:plugin/clock@0.1.0" "now" (func $now (result i64)))
  (import "wharfage:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
  (import "wharfage:plugin/state@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "wharfage:plugin/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))

  (type $step (func (param i32 i32) (result i32)))
  (memory (export "memory") 1 16)
  (global $free (mut i32) (i32.const 4096))
  (table 3 funcref)
  (elem (i32.const 0) $plus $times $mixed)

  (data (i32.const 0) "echorows.listAnswers its input.Lists two rows a page.{}[1,2][3]c1")
  (data (i32.const 128) "seenticksthing.seen{\"n\":1}")
  ;; describe: two operations of 36 bytes each, from 256 on, and the list of them.
  (data (i32.const 256)
    "\00\00\00\00\04\00\00\00" "\0d\00\00\00\12\00\00\00" "\35\00\00\00\02\00\00\00" "\35\00\00\00\02\00\00\00" "\00\00\00\00"
    "\04\00\00\00\09\00\00\00" "\1f\00\00\00\16\00\00\00" "\35\00\00\00\02\00\00\00" "\35\00\00\00\02\00\00\00" "\00\01\00\00")
  (data (i32.const 336) "\00\01\00\00\02\00\00\00")

  (func $plus (type $step) (i32.add (local.get 0) (local.get 1)))
  (func $times (type $step) (i32.mul (local.get 0) (i32.or (local.get 1) (i32.const 1))))
  (func $mixed (type $step) (i32.xor (i32.rotl (local.get 0) (i32.const 5)) (local.get 1)))

  ;; The sum of some bytes, each by the next of three ways.
  (func $sum (param $at i32) (param $length i32) (result i32)
    (local $i i32) (local $sum i32)
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $i) (local.get $length)))
        (local.set $sum
          (call_indirect (type $step)
            (local.get $sum)
            (i32.load8_u (i32.add (local.get $at) (local.get $i)))
            (i32.rem_u (local.get $i) (i32.const 3))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $wanted i32) (result i32)
    (local $at i32) (local $end i32)
    (local.set $at (i32.and
      (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (local.set $end (i32.add (local.get $at) (local.get $wanted)))
    (block $fits
      (loop $more
        (br_if $fits (i32.le_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
        (br $more)))
    (global.set $free (local.get $end))
    (memory.copy (local.get $at) (local.get $old) (local.get $had))
    (local.get $at))

  (func (export "wharfage:plugin/operations@0.1.0#describe") (result i32) (i32.const 336))

  ;; operation, input, cursor: whether, where, how long
  (func (export "wharfage:plugin/operations@0.1.0#call") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (local $answer i32) (local $sum i32)
    (local.set $answer (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 112)))
    (local.set $sum (call $sum (local.get 2) (local.get 3)))
    (i64.store (i32.const 512) (call $now))
    (i32.store (i32.const 520) (local.get $sum))
    (call $log (i32.const 1) (i32.const 13) (i32.const 18) (i32.const 0) (i32.const 0))
    (call $get (i32.const 128) (i32.const 4) (i32.const 1024))
    (call $set (i32.const 128) (i32.const 4) (i32.const 512) (i32.const 12) (i32.const 1024))
    (i32.store8 (local.get $answer) (i32.const 0))
    (if (i32.eq (local.get 1) (i32.const 4))
      (then
        (i32.store offset=8 (local.get $answer) (local.get 2))
        (i32.store offset=12 (local.get $answer) (local.get 3))
        (i32.store8 offset=16 (local.get $answer) (i32.const 0)))
      (else
        (if (local.get 4)
          (then
            (i32.store offset=8 (local.get $answer) (i32.const 60))
            (i32.store offset=12 (local.get $answer) (i32.const 3))
            (i32.store8 offset=16 (local.get $answer) (i32.const 0)))
          (else
            (i32.store offset=8 (local.get $answer) (i32.const 55))
            (i32.store offset=12 (local.get $answer) (i32.const 5))
            (i32.store8 offset=16 (local.get $answer) (i32.const 1))
            (i32.store offset=20 (local.get $answer) (i32.const 63))
            (i32.store offset=24 (local.get $answer) (i32.const 2))))))
    (local.get $answer))

  ;; id, trigger with its six words, cursor
  (func (export "wharfage:plugin/events@0.1.0#handle")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 144)))
    (memory.fill (local.get $answer) (i32.const 0) (i32.const 144))
    ;; emit: one, which stands behind the answer
    (i32.store offset=8 (local.get $answer) (i32.add (local.get $answer) (i32.const 112)))
    (i32.store offset=12 (local.get $answer) (i32.const 1))
    (i32.store offset=112 (local.get $answer) (i32.const 137))
    (i32.store offset=116 (local.get $answer) (i32.const 10))
    (i32.store offset=120 (local.get $answer) (local.get 0))
    (i32.store offset=124 (local.get $answer) (local.get 1))
    (i32.store offset=128 (local.get $answer) (i32.const 147))
    (i32.store offset=132 (local.get $answer) (i32.const 7))
    ;; the cursor is the id
    (i32.store8 offset=24 (local.get $answer) (i32.const 1))
    (i32.store offset=28 (local.get $answer) (local.get 0))
    (i32.store offset=32 (local.get $answer) (local.get 1))
    (local.get $answer)))
