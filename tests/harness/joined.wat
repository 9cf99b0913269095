;; One component inside joined to another by a string argument: wasmtime makes an adapter with two memories for it.
;; joined.wasm is this text, assembled.
(component
  (component $A
    (core module $m (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
      (func (export "f") (param i32 i32)))
    (core instance $i (instantiate $m))
    (func (export "f") (param "s" string) (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
  (component $B
    (import "f" (func $f (param "s" string)))
    (core module $mem (memory (export "memory") 1))
    (core instance $mem (instantiate $mem))
    (core func $lf (canon lower (func $f) (memory (core memory $mem "memory"))))
    (core module $m (import "" "f" (func (param i32 i32))) (func (export "g") i32.const 0 i32.const 0 call 0))
    (core instance $i (instantiate $m (with "" (instance (export "f" (func $lf))))))
    (func (export "g") (canon lift (core func $i "g"))))
  (instance $a (instantiate $A))
  (instance $b (instantiate $B (with "f" (func $a "f"))))
  (export "g" (func $b "g")))
