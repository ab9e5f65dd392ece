(* The gradients of the two-dimensional convolution, for all sizes, strides, dilations and paddings.

   Arrays are functions from integer indices to integers; only values at indices in range are ever used.
   The convolution is bilinear with integer coefficients, so that an identity between values at all integers
   is one between polynomials, and holds over every commutative ring. Nothing is assumed: see the end. *)

Require Import Bool ZArith Lia.
Open Scope Z_scope.

(* Finite sums. *)

Fixpoint sum (n : nat) (f : Z -> Z) : Z :=
  match n with
  | O => 0
  | S m => sum m f + f (Z.of_nat m)
  end.

Lemma sum_ext n f g :
  (forall i, 0 <= i < Z.of_nat n -> f i = g i) -> sum n f = sum n g.
Proof.
  induction n as [|n IH]; intros same; simpl; [reflexivity|].
  rewrite IH, (same (Z.of_nat n)); [reflexivity|lia|intros; apply same; lia].
Qed.

Lemma sum_zero n : sum n (fun _ => 0) = 0.
Proof. induction n as [|n IH]; simpl; [reflexivity|rewrite IH; reflexivity]. Qed.

Lemma sum_plus n f g : sum n (fun i => f i + g i) = sum n f + sum n g.
Proof. induction n as [|n IH]; simpl; [reflexivity|rewrite IH; ring]. Qed.

Lemma sum_scale n c f : c * sum n f = sum n (fun i => c * f i).
Proof. induction n as [|n IH]; simpl; [ring|rewrite <- IH; ring]. Qed.

Lemma sum_swap m n f :
  sum m (fun i => sum n (fun j => f i j)) = sum n (fun j => sum m (fun i => f i j)).
Proof.
  induction m as [|m IH]; simpl; [rewrite sum_zero; reflexivity|].
  rewrite IH, <- sum_plus. reflexivity.
Qed.

Lemma sum_first n f : sum (S n) f = f 0 + sum n (fun i => f (i + 1)).
Proof.
  induction n as [|n IH]; [simpl; ring|].
  change (sum (S (S n)) f) with (sum (S n) f + f (Z.of_nat (S n))).
  rewrite IH. simpl sum.
  replace (Z.of_nat (S n)) with (Z.of_nat n + 1) by lia. ring.
Qed.

(* Summing backwards: why the kernel may be turned. *)
Lemma sum_backwards n f : sum n f = sum n (fun i => f (Z.of_nat n - 1 - i)).
Proof.
  induction n as [|n IH]; [reflexivity|].
  rewrite (sum_first n (fun i => f (Z.of_nat (S n) - 1 - i))).
  change (sum (S n) f) with (sum n f + f (Z.of_nat n)). rewrite IH.
  replace (Z.of_nat (S n) - 1 - 0) with (Z.of_nat n) by lia.
  rewrite Z.add_comm. apply (f_equal (Z.add (f (Z.of_nat n)))). apply sum_ext. intros i _.
  apply (f_equal f). lia.
Qed.

(* Of a sum over a Kronecker delta one term is left, if it is in range. *)
Lemma sum_pick n v f :
  sum n (fun i => if i =? v then f i else 0)
  = if (0 <=? v) && (v <? Z.of_nat n) then f v else 0.
Proof.
  induction n as [|n IH].
  - change (0 = if (0 <=? v) && (v <? 0) then f v else 0).
    destruct (Z.leb_spec 0 v), (Z.ltb_spec v 0); cbn [andb]; lia.
  - simpl sum. rewrite IH.
    destruct (Z.eqb_spec (Z.of_nat n) v), (Z.leb_spec 0 v), (Z.ltb_spec v (Z.of_nat n)),
      (Z.ltb_spec v (Z.of_nat (S n))); cbn [andb]; subst; lia.
Qed.

(* One axis. *)

Definition padded (size : nat) (x : Z -> Z) (v : Z) : Z :=
  if (0 <=? v) && (v <? Z.of_nat size) then x v else 0.

Definition zeros_inserted (stride : Z) (size : nat) (g : Z -> Z) (t : Z) : Z :=
  if t mod stride =? 0 then padded size g (t / stride) else 0.

Lemma zeros_inserted_sum stride size g t :
  0 < stride ->
  zeros_inserted stride size g t = sum size (fun o => if t =? stride * o then g o else 0).
Proof.
  intros positive. unfold zeros_inserted.
  destruct (Z.eqb_spec (t mod stride) 0) as [divides|indivisible].
  - unfold padded. rewrite <- sum_pick. apply sum_ext. intros o _.
    assert (t = stride * (t / stride)) by (apply Z.div_exact; lia).
    destruct (Z.eqb_spec o (t / stride)), (Z.eqb_spec t (stride * o)); try reflexivity; nia.
  - transitivity (sum size (fun _ => 0)); [symmetry; apply sum_zero|].
    apply sum_ext. intros o _.
    destruct (Z.eqb_spec t (stride * o)) as [same|_]; [|reflexivity].
    exfalso. apply indivisible. rewrite same, Z.mul_comm. apply Z.mod_mul. lia.
Qed.

(* Reading the input at stride * o + c, paired with g, is reading g at u - c, paired with the input. *)
Lemma one_tap stride c size_in size_out x g :
  0 < stride ->
  sum size_out (fun o => g o * padded size_in x (stride * o + c))
  = sum size_in (fun u => x u * zeros_inserted stride size_out g (u - c)).
Proof.
  intros positive.
  transitivity (sum size_out (fun o => sum size_in (fun u => if u =? stride * o + c then g o * x u else 0))).
  - apply sum_ext. intros o _. unfold padded. rewrite <- sum_pick, sum_scale.
    apply sum_ext. intros u _. destruct (u =? stride * o + c); ring.
  - rewrite sum_swap. apply sum_ext. intros u _.
    rewrite (zeros_inserted_sum _ _ _ _ positive), sum_scale. apply sum_ext. intros o _.
    destruct (Z.eqb_spec u (stride * o + c)), (Z.eqb_spec (u - c) (stride * o)); try lia; ring.
Qed.

(* Two axes. *)

Definition sum2 (m n : nat) (f : Z -> Z -> Z) : Z := sum m (fun i => sum n (fun j => f i j)).

Lemma sum2_ext m n f g :
  (forall i j, 0 <= i < Z.of_nat m -> 0 <= j < Z.of_nat n -> f i j = g i j) -> sum2 m n f = sum2 m n g.
Proof. intros same. apply sum_ext. intros i ?. apply sum_ext. intros j ?. apply same; assumption. Qed.

Lemma sum2_scale m n c f : c * sum2 m n f = sum2 m n (fun i j => c * f i j).
Proof. unfold sum2. rewrite sum_scale. apply sum_ext. intros i _. apply sum_scale. Qed.

Lemma sum2_swap m n p q f :
  sum2 m n (fun i j => sum2 p q (fun k l => f i j k l)) = sum2 p q (fun k l => sum2 m n (fun i j => f i j k l)).
Proof.
  unfold sum2.
  transitivity (sum m (fun i => sum p (fun k => sum n (fun j => sum q (fun l => f i j k l))))).
  - apply sum_ext. intros i _. apply sum_swap.
  - rewrite sum_swap. apply sum_ext. intros k _.
    transitivity (sum m (fun i => sum q (fun l => sum n (fun j => f i j k l)))).
    + apply sum_ext. intros i _. apply sum_swap.
    + apply sum_swap.
Qed.

Lemma sum2_backwards m n f :
  sum2 m n f = sum2 m n (fun i j => f (Z.of_nat m - 1 - i) (Z.of_nat n - 1 - j)).
Proof.
  unfold sum2. rewrite sum_backwards. apply sum_ext. intros i _. apply sum_backwards.
Qed.

Section Convolution.

Variables H W KH KW OH OW : nat.
Variables S1 S2 D1 D2 P1 P2 : Z.
Hypothesis S1_positive : 0 < S1.
Hypothesis S2_positive : 0 < S2.

Definition padded2 (x : Z -> Z -> Z) (v1 v2 : Z) : Z :=
  padded W (fun u2 => padded H (fun u1 => x u1 u2) v1) v2.

Definition zeros_inserted2 (g : Z -> Z -> Z) (t1 t2 : Z) : Z :=
  zeros_inserted S1 OH (fun o1 => zeros_inserted S2 OW (g o1) t2) t1.

(* The definition. *)
Definition convolution (x k : Z -> Z -> Z) (o1 o2 : Z) : Z :=
  sum2 KH KW (fun a1 a2 => padded2 x (S1 * o1 + (D1 * a1 - P1)) (S2 * o2 + (D2 * a2 - P2)) * k a1 a2).

(* The closed forms. The pads of grad_output in front are D(K-1) - P; the far end is long enough by nature,
   since zeros_inserted is zero wherever there is no element (that it needs the remainder is GI-2). *)
Definition grad_input (g k : Z -> Z -> Z) (u1 u2 : Z) : Z :=
  sum2 KH KW (fun a1 a2 =>
    zeros_inserted2 g (u1 + D1 * a1 - (D1 * (Z.of_nat KH - 1) - P1)) (u2 + D2 * a2 - (D2 * (Z.of_nat KW - 1) - P2))
    * k (Z.of_nat KH - 1 - a1) (Z.of_nat KW - 1 - a2)).

Definition grad_weight (x g : Z -> Z -> Z) (a1 a2 : Z) : Z :=
  sum2 OH OW (fun o1 o2 => padded2 x (D1 * a1 + S1 * o1 - P1) (D2 * a2 + S2 * o2 - P2) * g o1 o2).

Definition paired (m n : nat) (y z : Z -> Z -> Z) : Z := sum2 m n (fun i j => y i j * z i j).

Lemma one_tap2 c1 c2 x g :
  sum2 OH OW (fun o1 o2 => g o1 o2 * padded2 x (S1 * o1 + c1) (S2 * o2 + c2))
  = sum2 H W (fun u1 u2 => x u1 u2 * zeros_inserted2 g (u1 - c1) (u2 - c2)).
Proof.
  unfold sum2, padded2, zeros_inserted2.
  transitivity (sum OH (fun o1 => sum W (fun u2 =>
    padded H (fun u1 => x u1 u2) (S1 * o1 + c1) * zeros_inserted S2 OW (g o1) (u2 - c2)))).
  - apply sum_ext. intros o1 _. apply one_tap. assumption.
  - rewrite sum_swap, (sum_swap H W). apply sum_ext. intros u2 _.
    rewrite <- one_tap by assumption. apply sum_ext. intros o1 _. ring.
Qed.

Theorem grad_input_is_the_derivative x k g :
  paired OH OW g (convolution x k) = paired H W x (grad_input g k).
Proof.
  unfold paired, convolution, grad_input.
  transitivity (sum2 KH KW (fun a1 a2 => k a1 a2 * sum2 OH OW (fun o1 o2 =>
    g o1 o2 * padded2 x (S1 * o1 + (D1 * a1 - P1)) (S2 * o2 + (D2 * a2 - P2))))).
  - transitivity (sum2 OH OW (fun o1 o2 => sum2 KH KW (fun a1 a2 =>
      k a1 a2 * (g o1 o2 * padded2 x (S1 * o1 + (D1 * a1 - P1)) (S2 * o2 + (D2 * a2 - P2)))))).
    + apply sum2_ext. intros o1 o2 _ _. rewrite sum2_scale. apply sum2_ext. intros a1 a2 _ _. ring.
    + rewrite sum2_swap. apply sum2_ext. intros a1 a2 _ _. symmetry. apply sum2_scale.
  - transitivity (sum2 KH KW (fun a1 a2 => sum2 H W (fun u1 u2 =>
      x u1 u2 * (zeros_inserted2 g (u1 - (D1 * a1 - P1)) (u2 - (D2 * a2 - P2)) * k a1 a2)))).
    + apply sum2_ext. intros a1 a2 _ _. rewrite one_tap2, sum2_scale.
      apply sum2_ext. intros u1 u2 _ _. ring.
    + rewrite sum2_swap. apply sum2_ext. intros u1 u2 _ _. rewrite <- sum2_scale. f_equal.
      rewrite sum2_backwards. apply sum2_ext. intros a1 a2 _ _.
      f_equal. f_equal; ring.
Qed.

Theorem grad_weight_is_the_derivative x k g :
  paired OH OW g (convolution x k) = paired KH KW k (grad_weight x g).
Proof.
  unfold paired, convolution, grad_weight.
  transitivity (sum2 OH OW (fun o1 o2 => sum2 KH KW (fun a1 a2 =>
    k a1 a2 * (padded2 x (D1 * a1 + S1 * o1 - P1) (D2 * a2 + S2 * o2 - P2) * g o1 o2)))).
  - apply sum2_ext. intros o1 o2 _ _. rewrite sum2_scale. apply sum2_ext. intros a1 a2 _ _.
    replace (S1 * o1 + (D1 * a1 - P1)) with (D1 * a1 + S1 * o1 - P1) by ring.
    replace (S2 * o2 + (D2 * a2 - P2)) with (D2 * a2 + S2 * o2 - P2) by ring. ring.
  - rewrite sum2_swap. apply sum2_ext. intros a1 a2 _ _. symmetry. apply sum2_scale.
Qed.

End Convolution.

(* Wrong on purpose: the kernel not turned. The same pairing then differs, already for one row. *)

Definition grad_input_unturned (H W KH KW OH OW : nat) (S1 S2 D1 D2 P1 P2 : Z) (g k : Z -> Z -> Z) (u1 u2 : Z) : Z :=
  sum2 KH KW (fun a1 a2 =>
    zeros_inserted2 OH OW S1 S2 g
      (u1 + D1 * a1 - (D1 * (Z.of_nat KH - 1) - P1)) (u2 + D2 * a2 - (D2 * (Z.of_nat KW - 1) - P2))
    * k a1 a2).

Theorem unturned_is_wrong : exists x k g,
  paired 1 1 g (convolution 1 2 1 2 1 1 1 1 0 0 x k)
  <> paired 1 2 x (grad_input_unturned 1 2 1 2 1 1 1 1 1 1 0 0 g k).
Proof.
  exists (fun _ u => u + 1), (fun _ a => a), (fun _ _ => 1). vm_compute. discriminate.
Qed.

Print Assumptions grad_input_is_the_derivative.
Print Assumptions grad_weight_is_the_derivative.
