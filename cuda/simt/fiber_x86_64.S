// The switch between two fibers on x86-64 (System V): the callee-saved registers go to the stack of
// the fiber that leaves, its stack pointer to *rdi, and everything comes back from the stack in rsi.

    .text
    .globl  wkv_fiber_switch
    .type   wkv_fiber_switch, @function
wkv_fiber_switch:
    endbr64
    pushq   %rbp
    pushq   %rbx
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, (%rdi)
    movq    %rsi, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbx
    popq    %rbp
    ret
    .size   wkv_fiber_switch, . - wkv_fiber_switch

// void* wkv_fiber_prepare(void* stack_top, entry, argument): the stack pointer from which the first
// switch to a new fiber starts. It leaves the stack 16-byte aligned at the call below.
    .globl  wkv_fiber_prepare
    .type   wkv_fiber_prepare, @function
wkv_fiber_prepare:
    endbr64
    leaq    -72(%rdi), %rax
    xorl    %ecx, %ecx
    movq    %rcx, 0(%rax)
    movq    %rcx, 8(%rax)
    movq    %rdx, 16(%rax)
    movq    %rsi, 24(%rax)
    movq    %rcx, 32(%rax)
    movq    %rcx, 40(%rax)
    leaq    wkv_fiber_start(%rip), %rcx
    movq    %rcx, 48(%rax)
    ret
    .size   wkv_fiber_prepare, . - wkv_fiber_prepare

// Where a new fiber starts: r12 holds its entry point, r13 the argument.
    .type   wkv_fiber_start, @function
wkv_fiber_start:
    .cfi_startproc
    .cfi_undefined %rip
    endbr64
    movq    %r13, %rdi
    callq   *%r12
    ud2
    .cfi_endproc
    .size   wkv_fiber_start, . - wkv_fiber_start

    .section .note.GNU-stack, "", @progbits
