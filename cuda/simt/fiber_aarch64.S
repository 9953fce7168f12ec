// The switch between two fibers on aarch64 (AAPCS64): the callee-saved registers, d8-d15 among them,
// go to the stack of the fiber that leaves, its stack pointer to *x0, and everything comes back from
// the stack in x1.

    .text
    .globl  wkv_fiber_switch
    .type   wkv_fiber_switch, %function
wkv_fiber_switch:
    hint    #34
    sub     sp, sp, #160
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mov     x9, sp
    str     x9, [x0]
    mov     sp, x1
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #160
    ret
    .size   wkv_fiber_switch, . - wkv_fiber_switch

// void* wkv_fiber_prepare(void* stack_top, entry, argument): the stack pointer from which the first
// switch to a new fiber starts.
    .globl  wkv_fiber_prepare
    .type   wkv_fiber_prepare, %function
wkv_fiber_prepare:
    hint    #34
    sub     x0, x0, #160
    stp     x1, x2, [x0, #0]
    stp     xzr, xzr, [x0, #16]
    stp     xzr, xzr, [x0, #32]
    stp     xzr, xzr, [x0, #48]
    stp     xzr, xzr, [x0, #64]
    adrp    x9, wkv_fiber_start
    add     x9, x9, :lo12:wkv_fiber_start
    stp     xzr, x9, [x0, #80]
    stp     xzr, xzr, [x0, #96]
    stp     xzr, xzr, [x0, #112]
    stp     xzr, xzr, [x0, #128]
    stp     xzr, xzr, [x0, #144]
    ret
    .size   wkv_fiber_prepare, . - wkv_fiber_prepare

// Where a new fiber starts: x19 holds its entry point, x20 the argument.
    .type   wkv_fiber_start, %function
wkv_fiber_start:
    .cfi_startproc
    .cfi_undefined x30
    hint    #36
    mov     x0, x20
    blr     x19
    brk     #0
    .cfi_endproc
    .size   wkv_fiber_start, . - wkv_fiber_start

    .section .note.GNU-stack, "", %progbits
